#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace millrace {

enum class KvKind : uint8_t {
  kTokens,  // something of each token, in blocks
  kState,   // a state of each sequence, which every row changes
};

// Layers that share one block table, or whose states are one unit.
struct KvGroup {
  KvKind kind = KvKind::kTokens;
  int32_t block_tokens = 16;  // the same in all groups of a model; of a state, how far apart the
                              // places lie where it can be kept
  int32_t window = 0;         // of tokens: a row reads so many, its own the last; 0: all
  int64_t units = 0;          // blocks or states
  int64_t unit_bytes = 0;     // of one in all its layers; for reports

  bool is_whole() const { return kind == KvKind::kTokens && window == 0; }
  friend bool operator==(const KvGroup&, const KvGroup&) = default;
};

// Pre: at least one group.
inline int32_t block_tokens_of(std::span<const KvGroup> groups) {
  return groups.front().block_tokens;
}

// Units that a sequence of up to `context_max` tokens ever holds at once while steps compute up to
// `rows_max` of its rows. Behind a window these are the blocks that its last window - 1 tokens and
// the rows of a step can touch, however they lie in blocks. With rows_max = 1 it is the least with
// which the sequence can go on.
inline int64_t blocks_per_sequence(const KvGroup& group, int64_t rows_max, int64_t context_max) {
  if (group.kind == KvKind::kState) return 1;
  const int64_t whole = (context_max + group.block_tokens - 1) / group.block_tokens;
  if (group.window == 0) return whole;
  const int64_t reach = group.window - 1 + rows_max;  // tokens, in blocks that need not be aligned
  return std::min(whole, (reach + group.block_tokens - 2) / group.block_tokens + 1);
}

// What an executor can hold and take in one step.
struct Capacity {
  std::vector<KvGroup> groups;
  int32_t rows_max = 0;       // token positions in one batch
  int32_t sequences_max = 0;  // slices in one batch
};

}  // namespace millrace
