#include "kv/prefix_tree.h"

#include <algorithm>

#include "base/check.h"

namespace millrace {
namespace {

int64_t most_nodes(std::span<const KvGroup> groups, int64_t nodes_max) {
  bool bounded = false;
  for (const KvGroup& group : groups) {
    if (!group.is_whole()) continue;
    nodes_max = bounded ? std::min(nodes_max, group.units) : group.units;
    bounded = true;
  }
  return nodes_max;
}

}  // namespace

PrefixTree::PrefixTree(std::span<const KvGroup> groups, int32_t nodes_max)
    : groups_(groups.begin(), groups.end()),
      block_tokens_(static_cast<size_t>(block_tokens_of(groups))),
      nodes_max_(static_cast<size_t>(most_nodes(groups, nodes_max))),
      order_(Order{this}, &memory_) {
  // Addresses only: pages are touched as nodes come.
  nodes_.reserve(nodes_max_);
  tokens_.reserve(nodes_max_ * block_tokens_);
  units_.reserve(nodes_max_ * groups_.size());
  unused_.reserve(nodes_max_);
  for (const KvGroup& group : groups_) {
    idle_.emplace_back(group.units);
    nodes_of_.emplace_back(static_cast<size_t>(group.units));
  }
}

bool PrefixTree::Order::operator()(NodeId a, NodeId b) const { return (*this)(a, tree->key_of(b)); }

bool PrefixTree::Order::operator()(NodeId a, const Key& b) const {
  const Key key = tree->key_of(a);
  if (key.parent != b.parent) return key.parent < b.parent;
  if (key.salt != b.salt) return key.salt < b.salt;
  return std::ranges::lexicographical_compare(key.tokens, b.tokens);
}

bool PrefixTree::Order::operator()(const Key& a, NodeId b) const {
  const Key key = tree->key_of(b);
  if (a.parent != key.parent) return a.parent < key.parent;
  if (a.salt != key.salt) return a.salt < key.salt;
  return std::ranges::lexicographical_compare(a.tokens, key.tokens);
}

std::span<const TokenId> PrefixTree::tokens_of(NodeId node) const {
  return std::span(tokens_).subspan(static_cast<size_t>(node.value) * block_tokens_, block_tokens_);
}

PrefixTree::Key PrefixTree::key_of(NodeId node) const {
  return {at(node).parent, at(node).salt, tokens_of(node)};
}

PrefixTree::Match PrefixTree::agreement(NodeId node, const Key& key) const {
  const Key own = key_of(node);
  if (own.parent != key.parent || own.salt != key.salt) return {};
  const auto [end, other] = std::ranges::mismatch(own.tokens, key.tokens);
  return {node, end - own.tokens.begin()};
}

PrefixTree::Match PrefixTree::best_child(NodeId parent, uint64_t salt,
                                         std::span<const TokenId> tokens) const {
  const Key key{parent, salt, tokens.first(std::min(tokens.size(), block_tokens_))};
  const auto after = order_.lower_bound(key);
  Match best;
  if (after != order_.end()) best = agreement(*after, key);
  if (after == order_.begin()) return best;
  const Match before = agreement(*std::prev(after), key);
  return before.tokens > best.tokens ? before : best;
}

NodeId PrefixTree::insert(NodeId parent, uint64_t salt, std::span<const TokenId> tokens) {
  CHECK(tokens.size() == block_tokens_, "a node of {} tokens", tokens.size());
  const auto found = order_.find(Key{parent, salt, tokens});
  if (found != order_.end()) return *found;
  const NodeId node = new_node();
  if (!node.valid()) return {};
  std::ranges::copy(tokens, tokens_.begin() + node.value * std::ssize(tokens));
  at(node) = {.parent = parent, .salt = salt, .in_tree = true};
  if (parent.valid()) ++at(parent).children;
  order_.insert(node);
  return node;
}

NodeId PrefixTree::new_node() {
  if (!unused_.empty()) {
    const NodeId node = unused_.back();
    unused_.pop_back();
    return node;
  }
  if (nodes_.size() == nodes_max_) return {};
  nodes_.emplace_back();
  tokens_.resize(nodes_.size() * block_tokens_);
  units_.resize(nodes_.size() * groups_.size());
  return {static_cast<int32_t>(nodes_.size()) - 1};
}

void PrefixTree::set_unit(NodeId node, int32_t group, BlockId unit) {
  CHECK(!this->unit(node, group).valid() && !contains(group, unit), "unit {} cannot enter the tree",
        unit);
  units_[index(node, group)] = unit;
  nodes_of_[static_cast<size_t>(group)][static_cast<size_t>(unit.value)] = node;
  ++at(node).units;
}

void PrefixTree::clear_unit(NodeId node, int32_t group) {
  CHECK(!groups_[static_cast<size_t>(group)].is_whole(), "a node cannot lose a unit of group {}",
        group);
  if (is_idle(group, unit(node, group))) idle_of(group).remove(unit(node, group));
  forget_unit(node, group);
  prune(node);
}

void PrefixTree::forget_unit(NodeId node, int32_t group) {
  BlockId& unit = units_[index(node, group)];
  nodes_of_[static_cast<size_t>(group)][static_cast<size_t>(unit.value)] = {};
  unit = {};
  --at(node).units;
}

void PrefixTree::remove_tail(NodeId node) {
  CHECK(at(node).tails > 0, "node {} has no tail", node);
  --at(node).tails;
  prune(node);
}

// The node and its ancestors, as far as nothing keeps them.
void PrefixTree::prune(NodeId node) {
  while (node.valid()) {
    const Node self = at(node);
    if (self.units > 0 || self.children > 0 || self.tails > 0) return;
    order_.erase(node);
    at(node) = {};
    unused_.push_back(node);
    node = self.parent;
    if (node.valid()) --at(node).children;
  }
}

void PrefixTree::make_idle(int32_t group, BlockId unit) {
  CHECK(contains(group, unit), "unit {} is not in the tree", unit);
  idle_of(group).add(unit);
}

void PrefixTree::make_held(int32_t group, BlockId unit) { idle_of(group).remove(unit); }

void PrefixTree::evict(int32_t group, std::vector<Unit>& evicted) {
  const BlockId oldest = idle_of(group).oldest();
  if (!oldest.valid()) return;
  const NodeId node = node_of(group, oldest);
  const bool takes_all = groups_[static_cast<size_t>(group)].is_whole();
  CHECK(!takes_all || (at(node).children == 0 && at(node).tails == 0),
        "node {} is idle before what follows it", node);
  for (int32_t other = 0; other < group_count(); ++other) {
    const BlockId unit = this->unit(node, other);
    if (!unit.valid() || (other != group && !takes_all)) continue;
    idle_of(other).remove(unit);
    forget_unit(node, other);
    evicted.push_back({other, unit});
  }
  prune(node);
}

void PrefixTree::check_integrity(std::span<const std::vector<int32_t>> holders,
                                 const std::vector<int32_t>& tails) const {
  std::vector<int32_t> children(nodes_.size(), 0);
  size_t in_tree = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const int32_t counted = i < tails.size() ? tails[i] : 0;
    CHECK(nodes_[i].tails == counted, "the tails of node {} were miscounted", i);
    if (!nodes_[i].in_tree) continue;
    ++in_tree;
    check_node({static_cast<int32_t>(i)}, holders);
    const NodeId parent = nodes_[i].parent;
    if (parent.valid()) ++children[static_cast<size_t>(parent.value)];
  }
  for (size_t i = 0; i < nodes_.size(); ++i) {
    CHECK(nodes_[i].children == children[i], "the children of node {} were miscounted", i);
  }
  CHECK(order_.size() == in_tree && in_tree + unused_.size() == nodes_.size(),
        "{} nodes are ordered and {} unused, of {} in {}", order_.size(), unused_.size(), in_tree,
        nodes_.size());
  CHECK(nodes_.size() <= nodes_max_, "{} nodes of {}", nodes_.size(), nodes_max_);
  for (int32_t group = 0; group < group_count(); ++group) check_idle(group);
}

void PrefixTree::check_node(NodeId node, std::span<const std::vector<int32_t>> holders) const {
  const Node& self = at(node);
  CHECK(order_.contains(node), "node {} cannot be found", node);
  CHECK(!self.parent.valid() || at(self.parent).in_tree, "node {} lost its parent", node);
  CHECK(self.units > 0 || self.children > 0 || self.tails > 0, "nothing keeps node {}", node);
  int32_t units = 0;
  for (int32_t group = 0; group < group_count(); ++group) {
    const BlockId unit = this->unit(node, group);
    const bool is_whole = groups_[static_cast<size_t>(group)].is_whole();
    CHECK(unit.valid() || !is_whole, "node {} has no unit of group {}", node, group);
    if (!unit.valid()) continue;
    ++units;
    CHECK(node_of(group, unit) == node, "unit {} is of another node than {}", unit, node);
    const auto i = static_cast<size_t>(unit.value);
    const bool is_held = holders[static_cast<size_t>(group)][i] > 0;
    CHECK(is_idle(group, unit) != is_held, "unit {} is idle and held, or neither", unit);
    if (!is_whole || !is_held || !self.parent.valid()) continue;
    CHECK(!is_idle(group, this->unit(self.parent, group)), "node {} is held and its parent is not",
          node);
  }
  CHECK(self.units == units, "the units of node {} were miscounted", node);
}

void PrefixTree::check_idle(int32_t group) const {
  const IdleUnits& idle = idle_of(group);
  const bool is_whole = groups_[static_cast<size_t>(group)].is_whole();
  std::vector<bool> seen(nodes_.size(), false);
  int32_t count = 0;
  for (BlockId unit = idle.oldest(); unit.valid(); unit = idle.newer(unit), ++count) {
    const NodeId node = node_of(group, unit);
    CHECK(node.valid() && this->unit(node, group) == unit, "idle unit {} is not in the tree", unit);
    const NodeId parent = at(node).parent;
    CHECK(!is_whole || !parent.valid() || !seen[static_cast<size_t>(parent.value)],
          "node {} became idle after its parent", node);
    seen[static_cast<size_t>(node.value)] = true;
  }
  CHECK(count == idle.size(), "{} units are idle, {} were counted", count, idle.size());
}

}  // namespace millrace
