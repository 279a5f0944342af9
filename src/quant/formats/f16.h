#pragma once

#include <cstdint>

#include "quant/panel.h"
#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace millrace {

struct BlockF16 {
  uint16_t bits;  // IEEE binary16

  static constexpr DType kType = DType::kF16;
  static constexpr int kElements = 1;

  bool is_finite() const { return finite_f16(bits); }

  void unpack(float* out) const { *out = f32_of_f16(bits); }
  static BlockF16 pack(const float* in) { return {f16_of_f32(*in)}; }
};
static_assert(sizeof(BlockF16) == 2);

inline void put(PanelF16& panel, int row, const BlockF16& block) { panel.values[row] = block.bits; }

inline void get(const PanelF16& panel, int row, float* out) {
  *out = f32_of_f16(panel.values[row]);
}

}  // namespace millrace
