#include "kv/prefix_tree.h"

#include <vector>

#include <gtest/gtest.h>

namespace millrace {
namespace {

using Tokens = std::vector<TokenId>;
using Holders = std::vector<std::vector<int32_t>>;

constexpr NodeId kRoot = {};

std::vector<KvGroup> whole(int32_t block_tokens, int64_t units) {
  return {{.block_tokens = block_tokens, .units = units}};
}

// Unit u is the block of the u-th node that was made.
NodeId add(PrefixTree& tree, NodeId parent, uint64_t salt, const Tokens& tokens) {
  const NodeId node = tree.insert(parent, salt, tokens);
  if (!tree.unit(node, 0).valid()) tree.set_unit(node, 0, {node.value});
  return node;
}

std::vector<std::pair<int32_t, int32_t>> evict(PrefixTree& tree, int32_t group) {
  std::vector<PrefixTree::Unit> units;
  tree.evict(group, units);
  std::vector<std::pair<int32_t, int32_t>> out;
  for (const PrefixTree::Unit& unit : units) out.emplace_back(unit.group, unit.id.value);
  return out;
}

using Units = std::vector<std::pair<int32_t, int32_t>>;

TEST(PrefixTree, FindsTheLongestAgreement) {
  PrefixTree tree(whole(4, 8), 0);
  const NodeId first = add(tree, kRoot, 0, {1, 2, 3, 4});
  const NodeId second = add(tree, kRoot, 0, {1, 2, 9, 9});
  const NodeId third = add(tree, kRoot, 0, {7, 7, 7, 7});

  const auto match = [&](const Tokens& tokens) {
    const auto found = tree.best_child(kRoot, 0, tokens);
    return std::pair(found.tokens == 0 ? kRoot : found.node, found.tokens);
  };
  EXPECT_EQ(match({1, 2, 3, 4}), std::pair(first, int64_t{4}));
  EXPECT_EQ(match({1, 2, 3, 4, 5}), std::pair(first, int64_t{4}));
  EXPECT_EQ(match({1, 2, 3, 5}), std::pair(first, int64_t{3}));
  EXPECT_EQ(match({1, 2, 9, 0}), std::pair(second, int64_t{3}));
  EXPECT_EQ(match({1, 2, 9}), std::pair(second, int64_t{3}));
  EXPECT_EQ(match({7}), std::pair(third, int64_t{1}));
  EXPECT_EQ(match({8, 7}), std::pair(kRoot, int64_t{0}));
  EXPECT_EQ(match({}), std::pair(kRoot, int64_t{0}));
}

TEST(PrefixTree, KeepsSaltsAndParentsApart) {
  PrefixTree tree(whole(1, 8), 0);
  const NodeId parent = add(tree, kRoot, 1, {5});
  const NodeId child = add(tree, parent, 1, {6});
  EXPECT_EQ(tree.best_child(kRoot, 2, Tokens{5}).tokens, 0);
  EXPECT_EQ(tree.best_child(kRoot, 1, Tokens{6}).tokens, 0);
  EXPECT_EQ(tree.best_child(parent, 1, Tokens{6}).node, child);
  EXPECT_EQ(tree.parent(child), parent);
}

TEST(PrefixTree, KeepsOneNodeOfEqualTokens) {
  PrefixTree tree(whole(2, 8), 0);
  const NodeId node = add(tree, kRoot, 0, {1, 2});
  EXPECT_EQ(tree.insert(kRoot, 0, Tokens{1, 2}), node);
  EXPECT_EQ(tree.nodes(), 1);
}

TEST(PrefixTree, EvictsTheLeastRecentlyUsedLeaf) {
  PrefixTree tree(whole(1, 4), 0);
  const NodeId first = add(tree, kRoot, 0, {1});
  add(tree, first, 0, {2});
  add(tree, kRoot, 0, {3});
  EXPECT_EQ(evict(tree, 0), Units{});  // all are held
  tree.make_idle(0, {1});              // the deepest first
  tree.make_idle(0, {0});
  tree.make_idle(0, {2});
  tree.check_integrity(Holders{{0, 0, 0, 0}}, {});

  tree.make_held(0, {0});
  tree.make_held(0, {1});
  tree.check_integrity(Holders{{1, 1, 0, 0}}, {});
  tree.make_idle(0, {1});
  tree.make_idle(0, {0});

  EXPECT_EQ(evict(tree, 0), (Units{{0, 2}}));  // 0 and 1 were used since
  EXPECT_EQ(evict(tree, 0), (Units{{0, 1}}));
  EXPECT_EQ(evict(tree, 0), (Units{{0, 0}}));
  EXPECT_EQ(evict(tree, 0), Units{});
  EXPECT_EQ(tree.best_child(kRoot, 0, Tokens{1}).tokens, 0);
  EXPECT_EQ(tree.nodes(), 0);
  tree.check_integrity(Holders{{0, 0, 0, 0}}, {});
}

// A group that keeps all tokens, a window and states.
class MixedTree : public testing::Test {
 protected:
  NodeId add_all(NodeId parent, const Tokens& tokens, int32_t unit) {
    const NodeId node = tree.insert(parent, 0, tokens);
    for (int32_t group = 0; group < 3; ++group) tree.set_unit(node, group, {unit});
    return node;
  }
  void make_idle(int32_t unit) {
    for (int32_t group = 0; group < 3; ++group) tree.make_idle(group, {unit});
  }

  PrefixTree tree{std::vector<KvGroup>{{.block_tokens = 1, .units = 4},
                                       {.block_tokens = 1, .window = 2, .units = 4},
                                       {.kind = KvKind::kState, .block_tokens = 1, .units = 4}},
                  0};
};

TEST_F(MixedTree, ALeafTakesAllItsUnitsWithIt) {
  const NodeId parent = add_all(kRoot, {1}, 0);
  add_all(parent, {2}, 1);
  make_idle(1);
  make_idle(0);
  EXPECT_EQ(evict(tree, 0), (Units{{0, 1}, {1, 1}, {2, 1}}));
  EXPECT_EQ(tree.idle(0), 1);
  EXPECT_EQ(tree.idle(1), 1);
  EXPECT_EQ(tree.idle(2), 1);
  tree.check_integrity(Holders(3, std::vector<int32_t>(4, 0)), {});
}

TEST_F(MixedTree, WindowsAndStatesLeaveGaps) {
  const NodeId parent = add_all(kRoot, {1}, 0);
  const NodeId child = add_all(parent, {2}, 1);
  tree.make_idle(1, {0});
  tree.make_idle(2, {0});
  EXPECT_EQ(evict(tree, 1), (Units{{1, 0}}));
  EXPECT_EQ(evict(tree, 2), (Units{{2, 0}}));
  EXPECT_EQ(evict(tree, 0), Units{});
  EXPECT_FALSE(tree.unit(parent, 1).valid());
  EXPECT_TRUE(tree.unit(parent, 0).valid() && tree.unit(child, 1).valid());
  tree.check_integrity(Holders{{1, 1, 0, 0}, {0, 1, 0, 0}, {0, 1, 0, 0}}, {});
}

TEST(PrefixTree, NodesGoWithWhatKeepsThem) {
  PrefixTree tree(std::vector<KvGroup>{{.kind = KvKind::kState, .block_tokens = 1, .units = 2}}, 3);
  NodeId node;
  for (const TokenId token : {1, 2, 3}) {
    const NodeId child = tree.insert(node, 0, Tokens{token});
    tree.add_tail(child);
    if (node.valid()) tree.remove_tail(node);
    node = child;
  }
  EXPECT_EQ(tree.nodes(), 3);
  EXPECT_FALSE(tree.insert(kRoot, 0, Tokens{4}).valid());  // full
  tree.set_unit(node, 0, {1});
  tree.remove_tail(node);
  tree.make_idle(0, {1});
  EXPECT_EQ(tree.nodes(), 3);  // they lead to the state
  tree.check_integrity(Holders{{0, 0}}, {});
  EXPECT_EQ(evict(tree, 0), (Units{{0, 1}}));
  EXPECT_EQ(tree.nodes(), 0);
  EXPECT_TRUE(tree.insert(kRoot, 0, Tokens{4}).valid());
}

}  // namespace
}  // namespace millrace
