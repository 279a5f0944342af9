#pragma once

#include <cstdint>

#include "quant/codes.h"
#include "quant/panel.h"
#include "quant/panel_rows.h"
#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace millrace {

// value = d * code + m, codes 0 to 15. The low nibble of qs[i] is element i, the high nibble
// element i + 16.
struct BlockQ4_1 {
  uint16_t d;  // f16
  uint16_t m;  // f16
  uint8_t qs[16];

  static constexpr DType kType = DType::kQ4_1;
  static constexpr int kElements = 32;

  bool is_finite() const { return finite_f16(d) && finite_f16(m); }

  void unpack(float* out) const {
    const float scale = f32_of_f16(d);
    const float offset = f32_of_f16(m);
    for (int i = 0; i < 16; ++i) {
      out[i] = scale * static_cast<float>(qs[i] & 15) + offset;
      out[i + 16] = scale * static_cast<float>(qs[i] >> 4) + offset;
    }
  }

  static BlockQ4_1 pack(const float* in) {
    const auto [min, max] = bounds_of({in, 32});
    const float scale = (max - min) / 15;
    const float inverse = reciprocal_or_zero(scale);
    BlockQ4_1 block{.d = f16_of_f32(scale), .m = f16_of_f32(min), .qs = {}};
    for (int i = 0; i < 16; ++i) {
      const int low = floor_code((in[i] - min) * inverse + 0.5F, 15);
      const int high = floor_code((in[i + 16] - min) * inverse + 0.5F, 15);
      block.qs[i] = static_cast<uint8_t>(low | high << 4);
    }
    return block;
  }
};
static_assert(sizeof(BlockQ4_1) == 20);

inline void put(PanelQ4_1& panel, int row, const BlockQ4_1& block) {
  put_nibbles(panel.nibbles, row, block.qs);
  panel.d[row] = block.d;
  panel.m[row] = block.m;
}

inline void get(const PanelQ4_1& panel, int row, float* out) {
  const float scale = f32_of_f16(panel.d[row]);
  const float offset = f32_of_f16(panel.m[row]);
  for (int k = 0; k < 32; ++k) {
    out[k] = scale * static_cast<float>(nibble_at(panel.nibbles, row, k)) + offset;
  }
}

}  // namespace millrace
