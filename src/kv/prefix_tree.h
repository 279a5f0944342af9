#pragma once

#include <cstdint>
#include <memory_resource>
#include <set>
#include <span>
#include <vector>

#include "base/ids.h"

namespace millrace {

// Which full blocks hold which tokens after which others. A node is one block; the path from a root
// to it spells the whole prefix. There is a root for each salt, so that prompts of different salts
// never meet.
//
// A node is held while some sequence holds its block, otherwise idle. A holder of a block holds
// all its ancestors, and lets go of the deepest first; so among idle nodes, in the order in which
// they became so, a child always comes before its parent, and the first is always a leaf: the least
// recently used one.
class PrefixTree {
 public:
  PrefixTree(int32_t blocks, int32_t block_tokens);
  PrefixTree(const PrefixTree&) = delete;
  PrefixTree& operator=(const PrefixTree&) = delete;

  struct Match {
    BlockId block;
    int64_t tokens = 0;  // how many leading tokens agree; all of the block's: it can be shared
  };
  // The child of `parent` (invalid: of the salt's root) that agrees longest with `tokens`, at most
  // a block of them. O(tokens * log(blocks)).
  Match best_child(BlockId parent, uint64_t salt, std::span<const TokenId> tokens) const;

  // Adds a held block full of `tokens`. Returns the node that now stands for them: `block`, or the
  // one that was there before. Pre: `block` is no node, and `parent` is one or invalid.
  BlockId insert(BlockId parent, uint64_t salt, std::span<const TokenId> tokens, BlockId block);

  bool contains(BlockId block) const { return node(block).in_tree; }
  void make_idle(BlockId block);  // pre: a held node without held descendants
  void make_held(BlockId block);  // pre: an idle node
  // Takes the least recently used leaf out of the tree; invalid when no node is idle.
  BlockId evict();

  int32_t idle() const { return idle_; }

  // `holders`: for each block, how many hold it.
  void check_integrity(const std::vector<int32_t>& holders) const;

 private:
  struct Node {
    BlockId parent;
    uint64_t salt = 0;
    int32_t children = 0;
    bool in_tree = false;
    bool idle = false;
    BlockId older = {}, newer = {};  // neighbours among the idle
  };
  // What a node is found by; a node's own, or that of tokens looked for.
  struct Key {
    BlockId parent;
    uint64_t salt;
    std::span<const TokenId> tokens;
  };
  // Siblings lie side by side in the order of their tokens, so the one that agrees longest with
  // some tokens is a neighbour of where these would stand.
  struct Order {
    using is_transparent = void;
    const PrefixTree* tree;
    bool operator()(BlockId a, BlockId b) const;
    bool operator()(BlockId a, const Key& b) const;
    bool operator()(const Key& a, BlockId b) const;
  };

  Node& node(BlockId block) { return nodes_[static_cast<size_t>(block.value)]; }
  const Node& node(BlockId block) const { return nodes_[static_cast<size_t>(block.value)]; }
  std::span<const TokenId> tokens_of(BlockId block) const;
  Key key_of(BlockId block) const;
  Match agreement(BlockId block, const Key& key) const;

  const size_t block_tokens_;
  std::vector<Node> nodes_;                        // [blocks]
  std::vector<TokenId> tokens_;                    // [blocks, block_tokens]
  std::pmr::unsynchronized_pool_resource memory_;  // gives back what evicted nodes leave
  std::pmr::set<BlockId, Order> order_;
  BlockId oldest_, newest_;
  int32_t idle_ = 0;
};

}  // namespace millrace
