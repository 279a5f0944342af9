#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "quant/codes.h"
#include "quant/panel.h"
#include "quant/panel_rows.h"
#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace millrace {

// value = d * qs[i], codes -127 to 127 (a file may hold -128).
struct BlockQ8_0 {
  uint16_t d;  // f16
  int8_t qs[32];

  static constexpr DType kType = DType::kQ8_0;
  static constexpr int kElements = 32;

  bool is_finite() const { return finite_f16(d); }

  void unpack(float* out) const {
    const float scale = f32_of_f16(d);
    for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(qs[i]);
  }

  static BlockQ8_0 pack(const float* in) {
    const float scale = std::fabs(extreme_of({in, 32})) / 127;
    const float inverse = reciprocal_or_zero(scale);
    BlockQ8_0 block{.d = f16_of_f32(scale), .qs = {}};
    for (int i = 0; i < 32; ++i) {
      block.qs[i] = static_cast<int8_t>(nearest_code(std::round(in[i] * inverse), -127, 127));
    }
    return block;
  }
};
static_assert(sizeof(BlockQ8_0) == 34);

inline void put(PanelQ8_0& panel, int row, const BlockQ8_0& block) {
  for (int i = 0; i < 8; ++i) std::memcpy(panel.codes + place_of(i, row), block.qs + 4 * i, 4);
  panel.d[row] = block.d;
}

inline void get(const PanelQ8_0& panel, int row, float* out) {
  const float scale = f32_of_f16(panel.d[row]);
  for (int k = 0; k < 32; ++k) {
    out[k] = scale * static_cast<float>(panel.codes[place_of(k / 4, row) + k % 4]);
  }
}

}  // namespace millrace
