#pragma once

#include <cstdint>
#include <memory_resource>
#include <set>
#include <span>
#include <vector>

#include "base/ids.h"
#include "core/kv_spec.h"
#include "kv/idle_units.h"

namespace millrace {

using NodeId = Id<struct NodeTag, int32_t>;  // a block's worth of tokens after a prefix

// Which units hold which tokens after which others. A node is a block's worth of tokens; the path
// from a root to it spells the whole prefix. It names a unit in each group that has one there: the
// block of these tokens, or a snapshot of the state after the last of them. There is a root for
// each salt, so that prompts of different salts never meet.
//
// A unit in the tree is held while somebody holds it, otherwise idle; a group evicts the one that
// has been idle longest. A node stays while it has a unit, a child, or a tail: a sequence whose
// published tokens end with it.
//
// Of groups without a window every node has a unit. A sequence holds those of its whole path and
// lets go of the deepest first, so the one that has been idle longest is a leaf's; it takes all the
// leaf's units with it. Windows and states leave gaps: evicting theirs only clears the name.
class PrefixTree {
 public:
  // Where groups without a window bound the number of nodes, `nodes_max` is not needed.
  PrefixTree(std::span<const KvGroup> groups, int32_t nodes_max);
  PrefixTree(const PrefixTree&) = delete;
  PrefixTree& operator=(const PrefixTree&) = delete;

  struct Match {
    NodeId node;
    int64_t tokens = 0;  // how many leading tokens agree; at most the node's
  };
  // The child of `parent` (invalid: of the salt's root) that agrees longest with `tokens`, at most
  // a block of them. O(tokens * log(nodes)).
  Match best_child(NodeId parent, uint64_t salt, std::span<const TokenId> tokens) const;

  // The node of a block's worth of `tokens`, made if it is not there; invalid when it is not and
  // the tree is full. The caller gives it a tail or a unit. Pre: `parent` is a node or invalid.
  NodeId insert(NodeId parent, uint64_t salt, std::span<const TokenId> tokens);
  NodeId parent(NodeId node) const { return at(node).parent; }

  BlockId unit(NodeId node, int32_t group) const { return units_[index(node, group)]; }
  // Pre: `unit` is held and of no node, and the node has none in this group.
  void set_unit(NodeId node, int32_t group, BlockId unit);
  // Pre: of a window or a state, idle or, if the caller holds it, held.
  void clear_unit(NodeId node, int32_t group);
  bool contains(int32_t group, BlockId unit) const { return node_of(group, unit).valid(); }

  void add_tail(NodeId node) { ++at(node).tails; }
  void remove_tail(NodeId node);

  void make_idle(int32_t group, BlockId unit);  // pre: held, in the tree
  void make_held(int32_t group, BlockId unit);  // pre: idle
  bool is_idle(int32_t group, BlockId unit) const { return idle_of(group).contains(unit); }
  int32_t idle(int32_t group) const { return idle_of(group).size(); }

  struct Unit {
    int32_t group = 0;
    BlockId id;
  };
  // Evicts from this group, if anything of it is idle. Appends the units that are in the tree no
  // more: of this group one, and what goes with it.
  void evict(int32_t group, std::vector<Unit>& evicted);

  int32_t nodes() const { return static_cast<int32_t>(order_.size()); }

  // `holders`: of each unit of each group; `tails`: of each node, as far as there are any.
  void check_integrity(std::span<const std::vector<int32_t>> holders,
                       const std::vector<int32_t>& tails) const;

 private:
  struct Node {
    NodeId parent;
    uint64_t salt = 0;
    int32_t children = 0;
    int32_t tails = 0;
    int32_t units = 0;
    bool in_tree = false;
  };
  // What a node is found by; a node's own, or that of tokens looked for.
  struct Key {
    NodeId parent;
    uint64_t salt;
    std::span<const TokenId> tokens;
  };
  // Siblings lie side by side in the order of their tokens, so the one that agrees longest with
  // some tokens is a neighbour of where these would stand.
  struct Order {
    using is_transparent = void;
    const PrefixTree* tree;
    bool operator()(NodeId a, NodeId b) const;
    bool operator()(NodeId a, const Key& b) const;
    bool operator()(const Key& a, NodeId b) const;
  };

  Node& at(NodeId node) { return nodes_[static_cast<size_t>(node.value)]; }
  const Node& at(NodeId node) const { return nodes_[static_cast<size_t>(node.value)]; }
  size_t index(NodeId node, int32_t group) const {
    return static_cast<size_t>(node.value) * groups_.size() + static_cast<size_t>(group);
  }
  const IdleUnits& idle_of(int32_t group) const { return idle_[static_cast<size_t>(group)]; }
  IdleUnits& idle_of(int32_t group) { return idle_[static_cast<size_t>(group)]; }
  NodeId node_of(int32_t group, BlockId unit) const {
    return nodes_of_[static_cast<size_t>(group)][static_cast<size_t>(unit.value)];
  }
  int32_t group_count() const { return static_cast<int32_t>(groups_.size()); }
  std::span<const TokenId> tokens_of(NodeId node) const;
  Key key_of(NodeId node) const;
  Match agreement(NodeId node, const Key& key) const;
  NodeId new_node();
  void forget_unit(NodeId node, int32_t group);
  void prune(NodeId node);
  void check_node(NodeId node, std::span<const std::vector<int32_t>> holders) const;
  void check_idle(int32_t group) const;

  const std::vector<KvGroup> groups_;
  const size_t block_tokens_;
  const size_t nodes_max_;
  std::vector<Node> nodes_;
  std::vector<TokenId> tokens_;                    // [nodes, block_tokens]
  std::vector<BlockId> units_;                     // [nodes, groups]
  std::vector<NodeId> unused_;                     // of nodes_
  std::vector<IdleUnits> idle_;                    // [groups]
  std::vector<std::vector<NodeId>> nodes_of_;      // [groups, units]; invalid: not in the tree
  std::pmr::unsynchronized_pool_resource memory_;  // gives back what nodes that went leave
  std::pmr::set<NodeId, Order> order_;
};

}  // namespace millrace
