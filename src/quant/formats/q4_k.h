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
// codes 0 to 15, with scale and min from scale_min(j). Sub-blocks 2c and 2c + 1 share the bytes
// qs[32c ... 32c + 31]: low nibbles are the first, high nibbles the second.
struct BlockQ4_K {
  uint16_t d;     // f16, of the scales
  uint16_t dmin;  // f16, of the minimums
  uint8_t scales[12];
  uint8_t qs[128];

  static constexpr DType kType = DType::kQ4_K;
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
        const int code = qs[j / 2 * 32 + i] >> shift & 15;
        out[j * 32 + i] = scale * static_cast<float>(code) - min;
      }
    }
  }

  static BlockQ4_K pack(const float* in) {
    const AffineBlock best = search_affine_block(in, {.top = 15, .first = -1.0F, .steps = 20});
    BlockQ4_K block{.d = best.d, .dmin = best.dmin, .scales = {}, .qs = {}};
    for (int j = 0; j < 8; ++j) {
      put_scale_min(block.scales, j, best.pairs[j]);
      const int shift = j % 2 == 0 ? 0 : 4;
      for (int i = 0; i < 32; ++i) {
        block.qs[j / 2 * 32 + i] |= static_cast<uint8_t>(best.codes[j * 32 + i] << shift);
      }
    }
    return block;
  }
};
static_assert(sizeof(BlockQ4_K) == 144);

inline void put(PanelQ4_K& panel, int row, const BlockQ4_K& block) {
  for (int j = 0; j < 8; ++j) {
    PanelQ4_K::Sub& sub = panel.sub[j];
    put_halved_nibbles(sub.nibbles, row, block.qs + j / 2 * 32, j % 2 == 1);
    const ScaleMin pair = block.scale_min(j);
    sub.scale[row] = static_cast<uint8_t>(pair.scale);
    sub.min[row] = static_cast<uint8_t>(pair.min);
  }
  panel.d[row] = block.d;
  panel.dmin[row] = block.dmin;
}

inline void get(const PanelQ4_K& panel, int row, float* out) {
  for (const PanelQ4_K::Sub& sub : panel.sub) {
    const float scale = f32_of_f16(panel.d[row]) * static_cast<float>(sub.scale[row]);
    const float min = f32_of_f16(panel.dmin[row]) * static_cast<float>(sub.min[row]);
    for (int k = 0; k < 32; ++k) {
      *out++ = scale * static_cast<float>(nibble_at(sub.nibbles, row, k)) - min;
    }
  }
}

}  // namespace millrace
