#pragma once

#include <cstdint>
#include <vector>

namespace millrace {

// Layers that share one block table.
struct KvGroup {
  int32_t block_tokens = 16;
  int32_t window = 0;  // keys further back than this are never read; 0: all are
  int64_t units = 0;   // blocks
};

// What an executor can hold and take in one step.
struct Capacity {
  std::vector<KvGroup> groups;
  int32_t rows_max = 0;       // token positions in one batch
  int32_t sequences_max = 0;  // slices in one batch
};

}  // namespace millrace
