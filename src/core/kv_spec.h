#pragma once

#include <cstdint>
#include <vector>

namespace millrace {

enum class KvKind : uint8_t {
  kTokens,  // something of each token, in blocks
  kState,   // a state of each sequence, which every row changes
};

// Layers that share one block table, or whose states are one unit.
struct KvGroup {
  KvKind kind = KvKind::kTokens;
  int32_t block_tokens = 16;  // of kTokens, the same in all groups of a model
  int32_t window = 0;         // tokens further back than this are never read; 0: all are
  int64_t units = 0;          // blocks or states
  int64_t unit_bytes = 0;     // of one in all its layers; for reports
};

// What an executor can hold and take in one step.
struct Capacity {
  std::vector<KvGroup> groups;
  int32_t rows_max = 0;       // token positions in one batch
  int32_t sequences_max = 0;  // slices in one batch
};

}  // namespace millrace
