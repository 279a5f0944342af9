#pragma once

#include <cstdint>

namespace millrace {

inline constexpr int kQ8Width = 32;
// A row group: rows of activations that lie together. 64 rows of 1536 elements are 144 KiB and stay
// in a second level cache of 512 KiB while panels of weights pass by.
inline constexpr int kGroupRows = 64;

inline constexpr int kQ8KWidth = 256;

// 32 neighbours of one row of activations in 8 bits: x is q * scale, |q| at most 127. The sums
// serve the products. Weights of 4 to 6 bits are multiplied as unsigned bytes; what that adds
// (offset * sum of q) is taken back by starting from minus_sum * offset. Each of these is as the
// lanes of the tier's integer products hold it (Simd::lane_sums): one number where a lane adds up
// all four neighbours, or two of 16 bits, over k % 4 in {0, 1} and in {2, 3}.
struct Q8Block {
  int8_t q[kQ8Width];
  float scale;
  float scaled_sum;  // scale * sum of q
  int32_t minus_sum;
};
static_assert(sizeof(Q8Block) == 44);

// 256 neighbours with one scale, for weights whose blocks of 256 have integer scales within.
struct Q8KBlock {
  int8_t q[kQ8KWidth];
  int32_t minus_sums[16];  // of each 16, as Q8Block has it, times 32: the offset of 6-bit codes
  int16_t sums[8];         // of each 32
  float scale;
};
static_assert(sizeof(Q8KBlock) == 340);

}  // namespace millrace
