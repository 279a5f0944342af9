#pragma once

#include <cstdint>

#include "quant/panel.h"
#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace millrace {

struct BlockBF16 {
  uint16_t bits;  // the upper half of a float32

  static constexpr DType kType = DType::kBF16;
  static constexpr int kElements = 1;

  bool is_finite() const { return finite_bf16(bits); }

  void unpack(float* out) const { *out = f32_of_bf16(bits); }
  static BlockBF16 pack(const float* in) { return {bf16_of_f32(*in)}; }
};
static_assert(sizeof(BlockBF16) == 2);

inline void put(PanelBF16& panel, int row, const BlockBF16& block) {
  panel.values[row] = block.bits;
}

inline void get(const PanelBF16& panel, int row, float* out) {
  *out = f32_of_bf16(panel.values[row]);
}

}  // namespace millrace
