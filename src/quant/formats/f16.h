#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace millrace {

struct BlockF16 {
  uint16_t bits;  // IEEE binary16

  static constexpr DType kType = DType::kF16;
  static constexpr int kElements = 1;

  void unpack(float* out) const { *out = f32_of_f16(bits); }
  static BlockF16 pack(const float* in) { return {f16_of_f32(*in)}; }
};
static_assert(sizeof(BlockF16) == 2);

}  // namespace millrace
