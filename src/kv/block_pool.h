#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace millrace {

// Counts the holders of each block, and hands out free ones. A block is free (in the free list),
// held (by one or more), or let go: without a holder but not given back, which is how the prefix
// tree keeps what may be useful again.
class BlockPool {
 public:
  explicit BlockPool(int32_t blocks);

  // A free block, held once; invalid when there is none.
  BlockId take();
  void hold(BlockId block);  // pre: not free
  // True when this was the last holder. Pre: held.
  bool let_go(BlockId block);
  // A block that was let go becomes free. Pre: no holder.
  void give_back(BlockId block);

  int32_t size() const { return static_cast<int32_t>(holders_.size()); }
  int32_t free() const { return static_cast<int32_t>(free_.size()); }
  int32_t held() const { return held_; }  // blocks with a holder
  int32_t holders(BlockId block) const { return holders_[static_cast<size_t>(block.value)]; }

  // `holders`: the true count for each block. `kept`: blocks let go and not given back.
  void check_integrity(const std::vector<int32_t>& holders, int32_t kept) const;

 private:
  std::vector<int32_t> holders_;  // [blocks]
  std::vector<BlockId> free_;     // last in, first out: likely still in a CPU's cache
  int32_t held_ = 0;
};

}  // namespace millrace
