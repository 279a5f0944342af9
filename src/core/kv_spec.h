#pragma once

#include <cstdint>
#include <vector>

namespace millrace {

// What one sublayer keeps of a sequence, in bytes.
struct KvSpec {
  int64_t token_bytes = 0;     // for every token
  int64_t block_bytes = 0;     // for every block besides (summaries)
  int64_t sequence_bytes = 0;  // for the sequence as a whole (recurrent states)
  int32_t window = 0;          // keys further back than this are never read; 0: all are
  int32_t sinks = 0;           // the first tokens that a window keeps
};

enum class KvKind : uint8_t { kTokens, kState };

// Layers that share one block table. A unit is a block (kTokens) or one sequence's state (kState).
struct KvGroup {
  KvKind kind = KvKind::kTokens;
  int32_t block_tokens = 16;
  int32_t window = 0;
  int32_t sinks = 0;
  int64_t units = 0;
};

// What an executor can hold and take in one step.
struct Capacity {
  std::vector<KvGroup> groups;
  int32_t rows_max = 0;       // token positions in one batch
  int32_t sequences_max = 0;  // slices in one batch
  int32_t depth = 1;          // batches in flight at once
};

}  // namespace millrace
