#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace millrace {

struct BlockBF16 {
  uint16_t bits;  // the upper half of a float32

  static constexpr DType kType = DType::kBF16;
  static constexpr int kElements = 1;

  void unpack(float* out) const { *out = f32_of_bf16(bits); }
  static BlockBF16 pack(const float* in) { return {bf16_of_f32(*in)}; }
};
static_assert(sizeof(BlockBF16) == 2);

}  // namespace millrace
