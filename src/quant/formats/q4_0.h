#pragma once

#include <cstdint>

#include "quant/codes.h"
#include "quant/panel.h"
#include "quant/panel_rows.h"
#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace millrace {

// value = d * (code - 8), codes 0 to 15. The low nibble of qs[i] is element i, the high nibble
// element i + 16.
struct BlockQ4_0 {
  uint16_t d;  // f16
  uint8_t qs[16];

  static constexpr DType kType = DType::kQ4_0;
  static constexpr int kElements = 32;

  bool is_finite() const { return finite_f16(d); }

  void unpack(float* out) const {
    const float scale = f32_of_f16(d);
    for (int i = 0; i < 16; ++i) {
      out[i] = scale * static_cast<float>((qs[i] & 15) - 8);
      out[i + 16] = scale * static_cast<float>((qs[i] >> 4) - 8);
    }
  }

  // The element furthest from zero gets the code 0, which is one further out than 15.
  static BlockQ4_0 pack(const float* in) {
    const float scale = extreme_of({in, 32}) / -8;
    const float inverse = reciprocal_or_zero(scale);
    BlockQ4_0 block{.d = f16_of_f32(scale), .qs = {}};
    for (int i = 0; i < 16; ++i) {
      const int low = floor_code(in[i] * inverse + 8.5F, 15);
      const int high = floor_code(in[i + 16] * inverse + 8.5F, 15);
      block.qs[i] = static_cast<uint8_t>(low | high << 4);
    }
    return block;
  }
};
static_assert(sizeof(BlockQ4_0) == 18);

inline void put(PanelQ4_0& panel, int row, const BlockQ4_0& block) {
  put_nibbles(panel.nibbles, row, block.qs);
  panel.d[row] = block.d;
}

inline void get(const PanelQ4_0& panel, int row, float* out) {
  const float scale = f32_of_f16(panel.d[row]);
  for (int k = 0; k < 32; ++k) {
    out[k] = scale * static_cast<float>(nibble_at(panel.nibbles, row, k) - 8);
  }
}

}  // namespace millrace
