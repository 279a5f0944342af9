#include "decode/drafting/draft_tree.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

std::vector<std::pair<TokenId, int32_t>> chosen(const DraftTree& tree) {
  std::vector<DraftNode> draft;
  const int32_t count = tree.list_chosen(draft);
  EXPECT_EQ(count, std::ssize(draft));
  std::vector<std::pair<TokenId, int32_t>> pairs;
  for (const DraftNode& node : draft) pairs.emplace_back(node.token, node.parent);
  return pairs;
}

using Pairs = std::vector<std::pair<TokenId, int32_t>>;

TEST(DraftTree, TokensAfterTheSameTokensAreOneNode) {
  DraftTree tree;
  const int32_t a = tree.add(7, -1, 0, 0.5);
  const int32_t b = tree.add(8, a, 0, 0.5);
  EXPECT_EQ(tree.add(7, -1, 1, 0.9), a);
  EXPECT_EQ(tree.add(8, a, 1, 0.1), b);
  EXPECT_NE(tree.add(8, -1, 1, 0.05), b);
  ASSERT_EQ(tree.nodes().size(), 3U);
  EXPECT_DOUBLE_EQ(tree.nodes()[0].survival, 0.9);  // the surer of both
  EXPECT_DOUBLE_EQ(tree.nodes()[1].survival, 0.25);
  EXPECT_EQ(tree.nodes()[1].method, 0);  // who proposed it first
  EXPECT_EQ(tree.nodes()[1].depth, 2);
}

TEST(DraftTree, ListsTheLikeliestPathFirst) {
  DraftTree tree;
  const int32_t a = tree.add(1, -1, 0, 0.3);
  const int32_t b = tree.add(2, -1, 0, 0.6);
  const int32_t c = tree.add(3, b, 0, 0.2);
  const int32_t d = tree.add(4, b, 0, 0.7);
  const int32_t e = tree.add(5, a, 0, 0.9);
  for (const int32_t node : {a, b, c, d, e}) tree.choose(node);
  EXPECT_EQ(chosen(tree), (Pairs{{2, -1}, {4, 0}, {1, -1}, {5, 2}, {3, 0}}));
  std::vector<int32_t> path;
  tree.list_likeliest_path(path);
  EXPECT_EQ(path, (std::vector<int32_t>{b, d}));
}

TEST(DraftTree, ListsOnlyWhatWasChosen) {
  DraftTree tree;
  const int32_t a = tree.add(1, -1, 0, 0.5);
  tree.add(2, -1, 0, 0.6);
  tree.choose(tree.add(3, a, 0, 0.9));
  tree.choose(a);
  EXPECT_EQ(chosen(tree), (Pairs{{1, -1}, {3, 0}}));
  tree.clear();
  EXPECT_TRUE(chosen(tree).empty());
}

}  // namespace
}  // namespace millrace
