#pragma once

#include <cstdint>

#include "quant/block_search.h"
#include "quant/formats/k_scales.h"
#include "quant/panel.h"
#include "quant/panel_rows.h"
#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace millrace {

// 256 elements in eight sub-blocks of 32. In sub-block j: value = d * scale * code - dmin * min,
// codes 0 to 31, with scale and min from scale_min(j). Bits 0 to 3 lie as in Q4_K: sub-blocks 2c
// and 2c + 1 are the low and the high nibbles of qs[32c ... 32c + 31]. Bit 4 of element i of
// sub-block j is bit j of qh[i].
struct BlockQ5_K {
  uint16_t d;     // f16, of the scales
  uint16_t dmin;  // f16, of the minimums
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];

  static constexpr DType kType = DType::kQ5_K;
  static constexpr int kElements = 256;

  bool is_finite() const { return finite_f16(d) && finite_f16(dmin); }

  ScaleMin scale_min(int j) const { return scale_min_at(scales, j); }

  void unpack(float* out) const {
    for (int j = 0; j < 8; ++j) {
      const ScaleMin pair = scale_min(j);
      const float scale = f32_of_f16(d) * static_cast<float>(pair.scale);
      const float min = f32_of_f16(dmin) * static_cast<float>(pair.min);
      const int shift = j % 2 == 0 ? 0 : 4;
      for (int i = 0; i < 32; ++i) {
        const int code = (qs[j / 2 * 32 + i] >> shift & 15) | (qh[i] >> j & 1) << 4;
        out[j * 32 + i] = scale * static_cast<float>(code) - min;
      }
    }
  }

  static BlockQ5_K pack(const float* in) {
    const AffineBlock best = search_affine_block(in, {.top = 31, .first = -0.5F, .steps = 15});
    BlockQ5_K block{.d = best.d, .dmin = best.dmin, .scales = {}, .qh = {}, .qs = {}};
    for (int j = 0; j < 8; ++j) {
      put_scale_min(block.scales, j, best.pairs[j]);
      const int shift = j % 2 == 0 ? 0 : 4;
      for (int i = 0; i < 32; ++i) {
        const int code = best.codes[j * 32 + i];
        block.qs[j / 2 * 32 + i] |= static_cast<uint8_t>((code & 15) << shift);
        block.qh[i] |= static_cast<uint8_t>((code >> 4) << j);
      }
    }
    return block;
  }
};
static_assert(sizeof(BlockQ5_K) == 176);

inline void put(PanelQ5_K& panel, int row, const BlockQ5_K& block) {
  for (int j = 0; j < 8; ++j) {
    PanelQ5_K::Sub& sub = panel.sub[j];
    put_halved_nibbles(sub.nibbles, row, block.qs + j / 2 * 32, j % 2 == 1);
    uint32_t bits = 0;
    for (int n = 0; n < 8; ++n) bits |= (load_word(block.qh + 4 * n) >> j & 0x01010101) << n;
    store_word(sub.bits + place_of(0, row), bits);
    const ScaleMin pair = block.scale_min(j);
    sub.scale[row] = static_cast<uint8_t>(pair.scale);
    sub.min[row] = static_cast<uint8_t>(pair.min);
  }
  panel.d[row] = block.d;
  panel.dmin[row] = block.dmin;
}

inline void get(const PanelQ5_K& panel, int row, float* out) {
  for (const PanelQ5_K::Sub& sub : panel.sub) {
    const float scale = f32_of_f16(panel.d[row]) * static_cast<float>(sub.scale[row]);
    const float min = f32_of_f16(panel.dmin[row]) * static_cast<float>(sub.min[row]);
    for (int k = 0; k < 32; ++k) {
      *out++ = scale * static_cast<float>(code_at(sub.nibbles, sub.bits, row, k)) - min;
    }
  }
}

}  // namespace millrace
