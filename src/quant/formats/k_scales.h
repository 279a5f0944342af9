#pragma once

#include <cstdint>

namespace millrace {

// A sub-block's 6-bit scale and minimum.
struct ScaleMin {
  int scale;
  int min;
};

// Q4_K and Q5_K keep eight pairs in twelve bytes. Pairs 0 to 3: the low six bits of bytes 0 to 3
// (scale) and 4 to 7 (minimum). Pairs 4 to 7: byte 4 + j holds bits 0 to 3 of the scale in its low
// and of the minimum in its high nibble; bits 4 and 5 are the top two bits of bytes j - 4 (scale)
// and j (minimum).
inline ScaleMin scale_min_at(const uint8_t (&bytes)[12], int j) {
  if (j < 4) return {bytes[j] & 63, bytes[j + 4] & 63};
  return {(bytes[j + 4] & 15) | (bytes[j - 4] >> 6) << 4, bytes[j + 4] >> 4 | (bytes[j] >> 6) << 4};
}

// Writes pair j into bytes that were zero; each pair once, in any order.
inline void put_scale_min(uint8_t (&bytes)[12], int j, ScaleMin pair) {
  const auto merge = [&bytes](int at, int bits) { bytes[at] |= static_cast<uint8_t>(bits); };
  if (j < 4) {
    merge(j, pair.scale);
    merge(j + 4, pair.min);
  } else {
    merge(j + 4, (pair.scale & 15) | (pair.min & 15) << 4);
    merge(j - 4, (pair.scale >> 4) << 6);
    merge(j, (pair.min >> 4) << 6);
  }
}

}  // namespace millrace
