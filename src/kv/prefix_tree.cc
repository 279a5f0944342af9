#include "kv/prefix_tree.h"

#include <algorithm>

#include "base/check.h"

namespace millrace {

PrefixTree::PrefixTree(int32_t blocks, int32_t block_tokens)
    : block_tokens_(static_cast<size_t>(block_tokens)),
      nodes_(static_cast<size_t>(blocks)),
      tokens_(nodes_.size() * block_tokens_),
      order_(Order{this}, &memory_) {}

bool PrefixTree::Order::operator()(BlockId a, BlockId b) const {
  return (*this)(a, tree->key_of(b));
}

bool PrefixTree::Order::operator()(BlockId a, const Key& b) const {
  const Key key = tree->key_of(a);
  if (key.parent != b.parent) return key.parent < b.parent;
  if (key.salt != b.salt) return key.salt < b.salt;
  return std::ranges::lexicographical_compare(key.tokens, b.tokens);
}

bool PrefixTree::Order::operator()(const Key& a, BlockId b) const {
  const Key key = tree->key_of(b);
  if (a.parent != key.parent) return a.parent < key.parent;
  if (a.salt != key.salt) return a.salt < key.salt;
  return std::ranges::lexicographical_compare(a.tokens, key.tokens);
}

std::span<const TokenId> PrefixTree::tokens_of(BlockId block) const {
  return std::span(tokens_).subspan(static_cast<size_t>(block.value) * block_tokens_,
                                    block_tokens_);
}

PrefixTree::Key PrefixTree::key_of(BlockId block) const {
  return {node(block).parent, node(block).salt, tokens_of(block)};
}

PrefixTree::Match PrefixTree::agreement(BlockId block, const Key& key) const {
  const Key own = key_of(block);
  if (own.parent != key.parent || own.salt != key.salt) return {};
  const auto [end, other] = std::ranges::mismatch(own.tokens, key.tokens);
  return {block, end - own.tokens.begin()};
}

PrefixTree::Match PrefixTree::best_child(BlockId parent, uint64_t salt,
                                         std::span<const TokenId> tokens) const {
  const Key key{parent, salt, tokens.first(std::min(tokens.size(), block_tokens_))};
  const auto after = order_.lower_bound(key);
  Match best;
  if (after != order_.end()) best = agreement(*after, key);
  if (after == order_.begin()) return best;
  const Match before = agreement(*std::prev(after), key);
  return before.tokens > best.tokens ? before : best;
}

BlockId PrefixTree::insert(BlockId parent, uint64_t salt, std::span<const TokenId> tokens,
                           BlockId block) {
  const auto found = order_.find(Key{parent, salt, tokens});
  if (found != order_.end()) return *found;
  CHECK(tokens.size() == block_tokens_ && !contains(block), "block {} cannot enter the tree",
        block);
  std::ranges::copy(tokens, tokens_.begin() + static_cast<std::ptrdiff_t>(block.value) *
                                                  static_cast<std::ptrdiff_t>(block_tokens_));
  node(block) = {.parent = parent, .salt = salt, .in_tree = true};
  if (parent.valid()) ++node(parent).children;
  order_.insert(block);
  return block;
}

void PrefixTree::make_idle(BlockId block) {
  Node& self = node(block);
  CHECK(self.in_tree && !self.idle, "block {} cannot become idle", block);
  self.idle = true;
  self.older = newest_;
  self.newer = {};
  (newest_.valid() ? node(newest_).newer : oldest_) = block;
  newest_ = block;
  ++idle_;
}

void PrefixTree::make_held(BlockId block) {
  Node& self = node(block);
  CHECK(self.idle, "block {} is not idle", block);
  self.idle = false;
  (self.older.valid() ? node(self.older).newer : oldest_) = self.newer;
  (self.newer.valid() ? node(self.newer).older : newest_) = self.older;
  --idle_;
}

BlockId PrefixTree::evict() {
  const BlockId block = oldest_;
  if (!block.valid()) return {};
  CHECK(node(block).children == 0, "block {} is idle before its children", block);
  make_held(block);
  order_.erase(block);
  if (node(block).parent.valid()) --node(node(block).parent).children;
  node(block) = {};
  return block;
}

void PrefixTree::check_integrity(const std::vector<int32_t>& holders) const {
  std::vector<int32_t> children(nodes_.size(), 0);
  size_t in_tree = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!nodes_[i].in_tree) continue;
    const BlockId block{static_cast<int32_t>(i)};
    ++in_tree;
    CHECK(nodes_[i].idle == (holders[i] == 0), "block {} is idle and held, or neither", block);
    CHECK(order_.contains(block), "block {} cannot be found", block);
    const BlockId parent = nodes_[i].parent;
    if (!parent.valid()) continue;
    CHECK(contains(parent), "block {} lost its parent", block);
    CHECK(nodes_[i].idle || !node(parent).idle, "block {} is held and its parent is not", block);
    ++children[static_cast<size_t>(parent.value)];
  }
  CHECK(order_.size() == in_tree, "{} blocks are ordered of {}", order_.size(), in_tree);
  for (size_t i = 0; i < nodes_.size(); ++i) {
    CHECK(nodes_[i].children == children[i], "the children of block {} were miscounted", i);
  }
  int32_t idle = 0;
  std::vector<bool> seen(nodes_.size(), false);
  for (BlockId block = oldest_; block.valid(); block = node(block).newer, ++idle) {
    const BlockId parent = node(block).parent;
    CHECK(node(block).idle, "block {} is listed as idle", block);
    CHECK(!parent.valid() || !seen[static_cast<size_t>(parent.value)],
          "block {} became idle after its parent", block);
    seen[static_cast<size_t>(block.value)] = true;
  }
  CHECK(idle == idle_, "{} blocks are idle, {} were counted", idle, idle_);
}

}  // namespace millrace
