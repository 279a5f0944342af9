#pragma once

#include <cstdint>

#include "quant/block_search.h"
#include "quant/panel.h"
#include "quant/panel_rows.h"
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

  bool is_finite() const { return finite_f16(d); }

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

inline void put(PanelQ6_K& panel, int row, const BlockQ6_K& block) {
  for (int j = 0; j < 8; ++j) {
    PanelQ6_K::Sub& sub = panel.sub[j];
    const int half = j / 4;
    const int quarter = j % 4;
    put_halved_nibbles(sub.nibbles, row, block.ql + 64 * half + 32 * (quarter % 2), quarter >= 2);
    uint32_t words[2] = {};
    for (int n = 0; n < 8; ++n) {
      const uint32_t top = load_word(block.qh + 32 * half + 4 * n) >> (2 * quarter) & 0x03030303;
      words[n / 4] |= top << (n % 4 * 2);
    }
    for (int part = 0; part < 2; ++part) {
      store_word(sub.bits + place_of(part, row), words[part]);
      sub.scale[part][row] = block.scales[2 * j + part];
    }
  }
  panel.d[row] = block.d;
}

inline void get(const PanelQ6_K& panel, int row, float* out) {
  for (const PanelQ6_K::Sub& sub : panel.sub) {
    for (int k = 0; k < 32; ++k) {
      const float scale = f32_of_f16(panel.d[row]) * static_cast<float>(sub.scale[k / 16][row]);
      *out++ = scale * static_cast<float>(code_at(sub.nibbles, sub.bits, row, k) - 32);
    }
  }
}

}  // namespace millrace
