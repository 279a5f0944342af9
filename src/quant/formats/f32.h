#pragma once

#include "tensor/dtype.h"

namespace millrace {

struct BlockF32 {
  float value;

  static constexpr DType kType = DType::kF32;
  static constexpr int kElements = 1;

  void unpack(float* out) const { *out = value; }
  static BlockF32 pack(const float* in) { return {*in}; }
};
static_assert(sizeof(BlockF32) == 4);

}  // namespace millrace
