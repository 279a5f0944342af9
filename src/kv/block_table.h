#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace millrace {

// Where one sequence's tokens are stored: token p in block p / block_tokens of the table.
struct BlockTable {
  std::vector<BlockId> blocks;
  int64_t stored = 0;     // leading tokens whose keys and values are there; at least `computed`
  int64_t published = 0;  // leading blocks that are nodes of the prefix tree

  int64_t size() const { return static_cast<int64_t>(blocks.size()); }
  BlockId& at(int64_t i) { return blocks[static_cast<size_t>(i)]; }
  BlockId at(int64_t i) const { return blocks[static_cast<size_t>(i)]; }
  // What block i hangs below in the prefix tree; invalid: a root.
  BlockId parent(int64_t i) const {
    return i == 0 ? BlockId{} : blocks[static_cast<size_t>(i - 1)];
  }
};

}  // namespace millrace
