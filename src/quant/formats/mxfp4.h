#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "quant/codes.h"
#include "quant/panel.h"
#include "quant/panel_rows.h"
#include "tensor/dtype.h"

namespace millrace {

// The elements of the 4-bit float E2M1, doubled: integers.
inline constexpr int8_t kDoubledE2M1[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                            0, -1, -2, -3, -4, -6, -8, -12};

// OCP Microscaling Formats 1.0: value = 2^(e - 127) * an element of E2M1; e of 255: not a number.
// The low nibble of qs[i] is element i, the high nibble element i + 16.
struct BlockMXFP4 {
  uint8_t e;  // E8M0
  uint8_t qs[16];

  static constexpr DType kType = DType::kMXFP4;
  static constexpr int kElements = 32;

  // What doubled elements are times, subnormal below 2; exact with any of them.
  static float half_scale(uint8_t e) {
    return e == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0F, e - 128);
  }

  bool is_finite() const {
    if (e <= 252) return true;
    float values[kElements];
    unpack(values);
    return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
  }

  void unpack(float* out) const {
    const float scale = half_scale(e);
    for (int i = 0; i < 16; ++i) {
      out[i] = scale * static_cast<float>(kDoubledE2M1[qs[i] & 15]);
      out[i + 16] = scale * static_cast<float>(kDoubledE2M1[qs[i] >> 4]);
    }
  }

  // The largest power of two below the extreme element gets the largest exponent of an element,
  // 2. Ties go towards zero; an infinity or a NaN is as good as the largest number.
  static BlockMXFP4 pack(const float* in) {
    float top = std::fabs(extreme_of({in, 32}));
    top = std::fmin(top, std::numeric_limits<float>::max());
    int exponent = 0;
    std::frexp(top, &exponent);  // top is in [2^(exponent - 1), 2^exponent)
    const int e = top == 0 ? 0 : std::max(exponent - 1 - 2 + 127, 0);
    BlockMXFP4 block{.e = static_cast<uint8_t>(e), .qs = {}};
    for (int i = 0; i < 16; ++i) {
      const int low = code_of(in[i], e);
      block.qs[i] = static_cast<uint8_t>(low | code_of(in[i + 16], e) << 4);
    }
    return block;
  }

 private:
  static int code_of(float value, int e) {
    constexpr float kMiddles[7] = {0.5F, 1.5F, 2.5F, 3.5F, 5, 7, 10};  // between neighbours
    const float doubled = std::ldexp(std::fabs(value), 128 - e);
    int code = 0;
    for (const float middle : kMiddles) code += doubled > middle ? 1 : 0;
    return code != 0 && value < 0 ? code + 8 : code;
  }
};
static_assert(sizeof(BlockMXFP4) == 17);

inline void put(PanelMXFP4& panel, int row, const BlockMXFP4& block) {
  put_nibbles(panel.nibbles, row, block.qs);
  panel.e[row] = block.e;
}

inline void get(const PanelMXFP4& panel, int row, float* out) {
  const float scale = BlockMXFP4::half_scale(panel.e[row]);
  for (int k = 0; k < 32; ++k) {
    out[k] = scale * static_cast<float>(kDoubledE2M1[nibble_at(panel.nibbles, row, k)]);
  }
}

}  // namespace millrace
