#pragma once

#include <cstdint>

#include "quant/block_search.h"
#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace millrace {

// 256 elements in sixteen sub-blocks of 16: value = d * scales[e / 16] * (code - 32), codes 0 to
// 63. Each half of 128 elements is four quarters of 32: element i of quarter t has bits 0 to 3 in
// ql[64 * half + 32 * (t % 2) + i], the low nibble for t < 2, and bits 4 and 5 in
// qh[32 * half + i], from bit 2t.
struct BlockQ6_K {
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  uint16_t d;  // f16

  static constexpr DType kType = DType::kQ6_K;
  static constexpr int kElements = 256;

  int code(int e) const {
    const Place place = place_of(e);
    const int low = ql[place.low] >> place.low_shift & 15;
    return low | (qh[place.high] >> place.high_shift & 3) << 4;
  }

  void unpack(float* out) const {
    for (int j = 0; j < 16; ++j) {
      const float scale = f32_of_f16(d) * static_cast<float>(scales[j]);
      for (int e = j * 16; e < j * 16 + 16; ++e) {
        out[e] = scale * static_cast<float>(code(e) - 32);
      }
    }
  }

  static BlockQ6_K pack(const float* in) {
    const SymmetricBlock best = search_symmetric_block(in);
    BlockQ6_K block{};
    block.d = best.d;
    for (int j = 0; j < 16; ++j) block.scales[j] = best.scales[j];
    for (int e = 0; e < 256; ++e) {
      const Place place = place_of(e);
      block.ql[place.low] |= static_cast<uint8_t>((best.codes[e] & 15) << place.low_shift);
      block.qh[place.high] |= static_cast<uint8_t>((best.codes[e] >> 4) << place.high_shift);
    }
    return block;
  }

 private:
  struct Place {
    int low, low_shift, high, high_shift;
  };
  static constexpr Place place_of(int e) {
    const int half = e / 128, quarter = e / 32 % 4, i = e % 32;
    return {64 * half + 32 * (quarter % 2) + i, quarter < 2 ? 0 : 4, 32 * half + i, 2 * quarter};
  }
};
static_assert(sizeof(BlockQ6_K) == 210);

}  // namespace millrace
