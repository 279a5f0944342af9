#pragma once

#include <cstdint>

#include "quant/codes.h"
#include "quant/panel.h"
#include "quant/panel_rows.h"
#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace millrace {

// value = d * (code - 16), codes 0 to 31. The low nibble of qs[i] holds bits 0 to 3 of element i,
// the high nibble those of element i + 16; bit 4 of element e is bit e % 8 of qh[e / 8].
struct BlockQ5_0 {
  uint16_t d;  // f16
  uint8_t qh[4];
  uint8_t qs[16];

  static constexpr DType kType = DType::kQ5_0;
  static constexpr int kElements = 32;

  bool is_finite() const { return finite_f16(d); }

  int code(int e) const {
    const int low = e < 16 ? qs[e] & 15 : qs[e - 16] >> 4;
    return low | (qh[e / 8] >> (e % 8) & 1) << 4;
  }

  void unpack(float* out) const {
    const float scale = f32_of_f16(d);
    for (int e = 0; e < 32; ++e) out[e] = scale * static_cast<float>(code(e) - 16);
  }

  // The element furthest from zero gets the code 0, which is one further out than 31.
  static BlockQ5_0 pack(const float* in) {
    const float scale = extreme_of({in, 32}) / -16;
    const float inverse = reciprocal_or_zero(scale);
    BlockQ5_0 block{.d = f16_of_f32(scale), .qh = {}, .qs = {}};
    for (int e = 0; e < 32; ++e) {
      const int code = floor_code(in[e] * inverse + 16.5F, 31);
      block.qs[e % 16] |= static_cast<uint8_t>((code & 15) << (e < 16 ? 0 : 4));
      block.qh[e / 8] |= static_cast<uint8_t>((code >> 4) << (e % 8));
    }
    return block;
  }
};
static_assert(sizeof(BlockQ5_0) == 22);

inline void put(PanelQ5_0& panel, int row, const BlockQ5_0& block) {
  put_nibbles(panel.nibbles, row, block.qs);
  put_fifth_bits(panel.bits, row, block.qh);
  panel.d[row] = block.d;
}

inline void get(const PanelQ5_0& panel, int row, float* out) {
  const float scale = f32_of_f16(panel.d[row]);
  for (int k = 0; k < 32; ++k) {
    out[k] = scale * static_cast<float>(code_at(panel.nibbles, panel.bits, row, k) - 16);
  }
}

}  // namespace millrace
