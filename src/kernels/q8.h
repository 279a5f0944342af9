#pragma once

#include <cstdint>

namespace millrace {

inline constexpr int kQ8Width = 32;
// A row group: rows of activations that lie together. 64 rows of 1536 elements are 144 KiB and stay
// in a second level cache of 512 KiB while panels of weights pass by.
inline constexpr int kGroupRows = 64;

// 32 neighbours of one row of activations in 8 bits: x is q * scale, |q| at most 127. The sums
// serve the products. Weights of 4 to 6 bits are multiplied as unsigned bytes; what that adds
// (offset * sum of q) is taken back by starting from minus_sums * offset. The lanes of an integer
// product hold two neighbours of every four, hence sums in pairs: over k % 4 in {0, 1} and in {2,
// 3}.
struct Q8Block {
  int8_t q[kQ8Width];
  float scale;
  float scaled_sum;            // scale * sum of q
  int16_t minus_sums[2];       // over all 32
  int16_t minus_low_sums[2];   // over the first 16
  int16_t minus_high_sums[2];  // over the others
};
static_assert(sizeof(Q8Block) == 52);

}  // namespace millrace
