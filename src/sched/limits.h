#pragma once

#include <cstdint>

namespace millrace {

// The most that one step computes. A prompt longer than what is left of `rows_max` is computed in
// chunks.
struct Limits {
  int32_t rows_max = 0;           // token positions
  int32_t sequences_max = 0;      // slices
  int64_t long_prefill_rows = 0;  // a prompt with more left to compute is long, and leaves shorter
                                  // ones half of the step
  int32_t draft_depth_max = 0;    // tokens that a draft may be ahead of what is known
};

}  // namespace millrace
