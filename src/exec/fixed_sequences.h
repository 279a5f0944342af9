#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "core/batch.h"
#include "core/kv_spec.h"

namespace millrace {

// Whose logits a slice wants.
enum class SliceWants : uint8_t { kNone, kLast, kAll };

// Batches made by hand, without a ledger: each of `capacity.sequences_max` sequences owns a fixed
// set of blocks, and the state of its own number. For evaluation, benches and tests.
class FixedSequences {
 public:
  // Units of each group that so many sequences of up to `tokens_max` tokens need.
  static std::vector<int64_t> units(std::span<const KvGroup> groups, int32_t sequences,
                                    int32_t tokens_max);

  // `capacity` has at least units(groups, sequences_max, tokens_max).
  FixedSequences(const Capacity& capacity, int32_t tokens_max);

  void clear() { batch_.clear(); }
  // Adds a slice that computes `tokens` at positions `position` and up; what is before is stored.
  void add(int32_t sequence, int32_t position, std::span<const TokenId> tokens, SliceWants wants);
  // Before the rows are computed, the first sequence's whole blocks of its first `filled` tokens
  // are copied behind themselves, over and over, up to `tokens`. Pre: filled fills a block.
  void repeat(int32_t filled, int32_t tokens);
  const Batch& batch() const { return batch_; }

 private:
  int32_t sequences_;
  int32_t tokens_max_;
  std::vector<KvGroup> groups_;
  Batch batch_;
};

}  // namespace millrace
