#include "kv/block_pool.h"

#include "base/check.h"

namespace millrace {

BlockPool::BlockPool(int32_t blocks) : holders_(static_cast<size_t>(blocks), 0) {
  free_.reserve(holders_.size());
  for (int32_t block = blocks - 1; block >= 0; --block) free_.push_back({block});
}

BlockId BlockPool::take() {
  if (free_.empty()) return {};
  const BlockId block = free_.back();
  free_.pop_back();
  hold(block);
  return block;
}

void BlockPool::hold(BlockId block) {
  int32_t& holders = holders_[static_cast<size_t>(block.value)];
  if (holders == 0) ++held_;
  ++holders;
}

bool BlockPool::let_go(BlockId block) {
  int32_t& holders = holders_[static_cast<size_t>(block.value)];
  CHECK(holders > 0, "block {} has no holder", block);
  --holders;
  if (holders == 0) --held_;
  return holders == 0;
}

void BlockPool::give_back(BlockId block) {
  CHECK(holders(block) == 0, "block {} is still held", block);
  free_.push_back(block);
}

void BlockPool::check_integrity(const std::vector<int32_t>& holders, int32_t kept) const {
  CHECK(holders == holders_, "a block's holders were miscounted");
  std::vector<bool> is_free(holders_.size(), false);
  for (const BlockId block : free_) {
    const auto i = static_cast<size_t>(block.value);
    CHECK(!is_free[i], "block {} is free twice", block);
    CHECK(holders_[i] == 0, "block {} is free and held", block);
    is_free[i] = true;
  }
  CHECK(free() + held_ + kept == size(), "{} free, {} held, {} kept of {}", free(), held_, kept,
        size());
}

}  // namespace millrace
