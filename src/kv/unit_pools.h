#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "core/kv_spec.h"
#include "kv/block_pool.h"
#include "kv/prefix_tree.h"

namespace millrace {

// The units of all groups. One is free, held, or idle: in the prefix tree without a holder, and
// taken when none is free.
class UnitPools {
 public:
  // `tree`: null without prefix caching; it outlives this.
  UnitPools(std::span<const KvGroup> groups, PrefixTree* tree);

  BlockId take(int32_t group);  // held once; invalid when all are held
  void hold(int32_t group, BlockId unit);
  void let_go(int32_t group, BlockId unit);  // pre: held
  // What the tree evicts first, if it keeps anything of the group, becomes free.
  void evict(int32_t group);
  // An idle unit becomes free, and its node goes without. Pre: of a window or a state.
  void drop(int32_t group, BlockId unit, NodeId node);

  int64_t available(int32_t group) const { return free(group) + idle(group); }
  int64_t free(int32_t group) const { return pool(group).free(); }
  int64_t idle(int32_t group) const { return tree_ ? tree_->idle(group) : 0; }
  int64_t held(int32_t group) const { return pool(group).held(); }
  int64_t evictions(int32_t group) const { return evictions_[static_cast<size_t>(group)]; }
  int32_t holders(int32_t group, BlockId unit) const { return pool(group).holders(unit); }

  // `holders`: the true count of each unit of each group.
  void check_integrity(std::span<const std::vector<int32_t>> holders) const;

 private:
  const BlockPool& pool(int32_t group) const { return pools_[static_cast<size_t>(group)]; }
  BlockPool& pool(int32_t group) { return pools_[static_cast<size_t>(group)]; }

  std::vector<BlockPool> pools_;  // [groups]
  PrefixTree* const tree_;
  std::vector<PrefixTree::Unit> evicted_;
  std::vector<int64_t> evictions_;  // [groups], ever
};

}  // namespace millrace
