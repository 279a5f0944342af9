#pragma once

#include <cmath>
#include <cstdint>

#include "quant/codes.h"
#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace millrace {

// value = d * qs[i], codes -127 to 127 (a file may hold -128).
struct BlockQ8_0 {
  uint16_t d;  // f16
  int8_t qs[32];

  static constexpr DType kType = DType::kQ8_0;
  static constexpr int kElements = 32;

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

}  // namespace millrace
