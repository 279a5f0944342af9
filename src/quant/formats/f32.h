#pragma once

#include <bit>
#include <cstdint>

#include "quant/panel.h"
#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace millrace {

struct BlockF32 {
  float value;

  static constexpr DType kType = DType::kF32;
  static constexpr int kElements = 1;

  bool is_finite() const { return finite_f32(std::bit_cast<uint32_t>(value)); }

  void unpack(float* out) const { *out = value; }
  static BlockF32 pack(const float* in) { return {*in}; }
};
static_assert(sizeof(BlockF32) == 4);

inline void put(PanelF32& panel, int row, const BlockF32& block) {
  panel.values[row] = block.value;
}

inline void get(const PanelF32& panel, int row, float* out) { *out = panel.values[row]; }

}  // namespace millrace
