#pragma once

#include <cstdint>

#include "quant/codes.h"
#include "quant/panel.h"
#include "quant/panel_rows.h"
#include "tensor/dtype.h"
#include "tensor/float_bits.h"

namespace millrace {

// value = d * code + m, codes 0 to 31. The low nibble of qs[i] holds bits 0 to 3 of element i, the
// high nibble those of element i + 16; bit 4 of element e is bit e % 8 of qh[e / 8].
struct BlockQ5_1 {
  uint16_t d;  // f16
  uint16_t m;  // f16
  uint8_t qh[4];
  uint8_t qs[16];

  static constexpr DType kType = DType::kQ5_1;
  static constexpr int kElements = 32;

  bool is_finite() const { return finite_f16(d) && finite_f16(m); }

  int code(int e) const {
    const int low = e < 16 ? qs[e] & 15 : qs[e - 16] >> 4;
    return low | (qh[e / 8] >> (e % 8) & 1) << 4;
  }

  void unpack(float* out) const {
    const float scale = f32_of_f16(d);
    const float offset = f32_of_f16(m);
    for (int e = 0; e < 32; ++e) out[e] = scale * static_cast<float>(code(e)) + offset;
  }

  static BlockQ5_1 pack(const float* in) {
    const auto [min, max] = bounds_of({in, 32});
    const float scale = (max - min) / 31;
    const float inverse = reciprocal_or_zero(scale);
    BlockQ5_1 block{.d = f16_of_f32(scale), .m = f16_of_f32(min), .qh = {}, .qs = {}};
    for (int e = 0; e < 32; ++e) {
      const int code = floor_code((in[e] - min) * inverse + 0.5F, 31);
      block.qs[e % 16] |= static_cast<uint8_t>((code & 15) << (e < 16 ? 0 : 4));
      block.qh[e / 8] |= static_cast<uint8_t>((code >> 4) << (e % 8));
    }
    return block;
  }
};
static_assert(sizeof(BlockQ5_1) == 24);

inline void put(PanelQ5_1& panel, int row, const BlockQ5_1& block) {
  put_nibbles(panel.nibbles, row, block.qs);
  put_fifth_bits(panel.bits, row, block.qh);
  panel.d[row] = block.d;
  panel.m[row] = block.m;
}

inline void get(const PanelQ5_1& panel, int row, float* out) {
  const float scale = f32_of_f16(panel.d[row]);
  const float offset = f32_of_f16(panel.m[row]);
  for (int k = 0; k < 32; ++k) {
    out[k] = scale * static_cast<float>(code_at(panel.nibbles, panel.bits, row, k)) + offset;
  }
}

}  // namespace millrace
