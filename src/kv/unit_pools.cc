#include "kv/unit_pools.h"

namespace millrace {

UnitPools::UnitPools(std::span<const KvGroup> groups, PrefixTree* tree)
    : tree_(tree), evictions_(groups.size(), 0) {
  for (const KvGroup& group : groups) pools_.emplace_back(static_cast<int32_t>(group.units));
}

BlockId UnitPools::take(int32_t group) {
  if (free(group) == 0) evict(group);
  return pool(group).take();
}

void UnitPools::evict(int32_t group) {
  if (tree_ == nullptr) return;
  evicted_.clear();
  tree_->evict(group, evicted_);
  for (const PrefixTree::Unit& unit : evicted_) {
    pool(unit.group).give_back(unit.id);
    ++evictions_[static_cast<size_t>(unit.group)];
  }
}

void UnitPools::drop(int32_t group, BlockId unit, NodeId node) {
  tree_->clear_unit(node, group);
  pool(group).give_back(unit);
}

void UnitPools::hold(int32_t group, BlockId unit) {
  if (holders(group, unit) == 0) tree_->make_held(group, unit);
  pool(group).hold(unit);
}

void UnitPools::let_go(int32_t group, BlockId unit) {
  if (!pool(group).let_go(unit)) return;
  if (tree_ != nullptr && tree_->contains(group, unit)) {
    tree_->make_idle(group, unit);
  } else {
    pool(group).give_back(unit);
  }
}

void UnitPools::check_integrity(std::span<const std::vector<int32_t>> holders) const {
  for (size_t group = 0; group < pools_.size(); ++group) {
    pools_[group].check_integrity(holders[group],
                                  static_cast<int32_t>(idle(static_cast<int32_t>(group))));
  }
}

}  // namespace millrace
