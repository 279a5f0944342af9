#include "kv/prefix_tree.h"

#include <vector>

#include <gtest/gtest.h>

namespace millrace {
namespace {

using Tokens = std::vector<TokenId>;

constexpr BlockId kRoot = {};

TEST(PrefixTree, FindsTheLongestAgreement) {
  PrefixTree tree(8, 4);
  tree.insert(kRoot, 0, Tokens{1, 2, 3, 4}, {0});
  tree.insert(kRoot, 0, Tokens{1, 2, 9, 9}, {1});
  tree.insert(kRoot, 0, Tokens{7, 7, 7, 7}, {2});

  const auto match = [&](const Tokens& tokens) {
    const auto found = tree.best_child(kRoot, 0, tokens);
    return std::pair(found.tokens == 0 ? -1 : found.block.value, found.tokens);
  };
  EXPECT_EQ(match({1, 2, 3, 4}), std::pair(0, int64_t{4}));
  EXPECT_EQ(match({1, 2, 3, 4, 5}), std::pair(0, int64_t{4}));
  EXPECT_EQ(match({1, 2, 3, 5}), std::pair(0, int64_t{3}));
  EXPECT_EQ(match({1, 2, 9, 0}), std::pair(1, int64_t{3}));
  EXPECT_EQ(match({1, 2, 9}), std::pair(1, int64_t{3}));
  EXPECT_EQ(match({7}), std::pair(2, int64_t{1}));
  EXPECT_EQ(match({8, 7}), std::pair(-1, int64_t{0}));
  EXPECT_EQ(match({}), std::pair(-1, int64_t{0}));
}

TEST(PrefixTree, KeepsSaltsAndParentsApart) {
  PrefixTree tree(8, 1);
  tree.insert(kRoot, 1, Tokens{5}, {0});
  tree.insert({0}, 1, Tokens{6}, {1});
  EXPECT_EQ(tree.best_child(kRoot, 2, Tokens{5}).tokens, 0);
  EXPECT_EQ(tree.best_child(kRoot, 1, Tokens{6}).tokens, 0);
  EXPECT_EQ(tree.best_child({0}, 1, Tokens{6}).block, BlockId{1});
}

TEST(PrefixTree, KeepsTheFirstOfEqualBlocks) {
  PrefixTree tree(8, 2);
  EXPECT_EQ(tree.insert(kRoot, 0, Tokens{1, 2}, {3}), BlockId{3});
  EXPECT_EQ(tree.insert(kRoot, 0, Tokens{1, 2}, {4}), BlockId{3});
  EXPECT_FALSE(tree.contains({4}));
}

TEST(PrefixTree, EvictsTheLeastRecentlyUsedLeaf) {
  PrefixTree tree(4, 1);
  tree.insert(kRoot, 0, Tokens{1}, {0});
  tree.insert({0}, 0, Tokens{2}, {1});
  tree.insert(kRoot, 0, Tokens{3}, {2});
  EXPECT_EQ(tree.evict(), kRoot);  // all are held
  tree.make_idle({1});             // the deepest first
  tree.make_idle({0});
  tree.make_idle({2});
  tree.check_integrity({0, 0, 0, 0});

  tree.make_held({0});
  tree.make_held({1});
  tree.check_integrity({1, 1, 0, 0});
  tree.make_idle({1});
  tree.make_idle({0});

  EXPECT_EQ(tree.evict(), BlockId{2});  // 0 and 1 were used since
  EXPECT_EQ(tree.evict(), BlockId{1});
  EXPECT_EQ(tree.evict(), BlockId{0});
  EXPECT_EQ(tree.evict(), kRoot);
  EXPECT_EQ(tree.best_child(kRoot, 0, Tokens{1}).tokens, 0);
  EXPECT_EQ(tree.insert(kRoot, 0, Tokens{1}, {1}), BlockId{1});
}

}  // namespace
}  // namespace millrace
