#pragma once

#include <cstdint>
#include <cstring>

#include "quant/formats.h"
#include "quant/panel.h"

// A row's block into a panel (put) and back as float32 (get): get gives exactly block.unpack().

namespace millrace {

// Four neighbours at a time: a byte each of a 32-bit word.
inline uint32_t load_word(const uint8_t* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}
inline void store_word(uint8_t* bytes, uint32_t word) { std::memcpy(bytes, &word, sizeof word); }

inline constexpr uint32_t kLowNibbles = 0x0f0f0f0f;

// Where the four neighbours of a row begin in step i of a panel.
constexpr int place_of(int step, int row) { return 64 * step + 4 * row; }

// Codes of 32 neighbours in a panel's block.
inline int nibble_at(const PanelNibbles& nibbles, int row, int k) {
  const uint8_t byte = nibbles[place_of(k % 16 / 4, row) + k % 4];
  return k < 16 ? byte & 15 : byte >> 4;
}
inline int code_at(const PanelNibbles& nibbles, const PanelFifthBits& bits, int row, int k) {
  return nibble_at(nibbles, row, k) | (bits[place_of(0, row) + k % 4] >> (k / 4) & 1) << 4;
}
inline int code_at(const PanelNibbles& nibbles, const PanelTopBits& bits, int row, int k) {
  const int top = bits[place_of(k / 16, row) + k % 4] >> (k / 4 % 4 * 2) & 3;
  return nibble_at(nibbles, row, k) | top << 4;
}

// qs: 16 bytes, byte i with element i in its low and i + 16 in its high nibble.
inline void put_nibbles(PanelNibbles& nibbles, int row, const uint8_t* qs) {
  for (int i = 0; i < 4; ++i) store_word(nibbles + place_of(i, row), load_word(qs + 4 * i));
}
// qs: 32 bytes; element i in the low (`high` false) or the high nibble of byte i.
inline void put_halved_nibbles(PanelNibbles& nibbles, int row, const uint8_t* qs, bool high) {
  for (int i = 0; i < 4; ++i) {
    const uint32_t a = load_word(qs + 4 * i);
    const uint32_t b = load_word(qs + 4 * i + 16);
    const uint32_t word = high ? (a >> 4 & kLowNibbles) | (b & ~kLowNibbles)
                               : (a & kLowNibbles) | (b & kLowNibbles) << 4;
    store_word(nibbles + place_of(i, row), word);
  }
}
// qh: 4 bytes; bit e % 8 of byte e / 8 is that of element e.
inline void put_fifth_bits(PanelFifthBits& bits, int row, const uint8_t* qh) {
  uint32_t word = 0;
  for (int n = 0; n < 8; ++n) {
    const uint32_t four = qh[n / 2] >> (n % 2 * 4) & 15U;
    word |= (four * 0x00204081 & 0x01010101) << n;  // bit j goes to byte j
  }
  store_word(bits + place_of(0, row), word);
}

inline void put(PanelF32& panel, int row, const BlockF32& block) {
  panel.values[row] = block.value;
}
inline void put(PanelF16& panel, int row, const BlockF16& block) { panel.values[row] = block.bits; }
inline void put(PanelBF16& panel, int row, const BlockBF16& block) {
  panel.values[row] = block.bits;
}
inline void put(PanelQ8_0& panel, int row, const BlockQ8_0& block) {
  for (int i = 0; i < 8; ++i) std::memcpy(panel.codes + place_of(i, row), block.qs + 4 * i, 4);
  panel.d[row] = block.d;
}
inline void put(PanelQ4_0& panel, int row, const BlockQ4_0& block) {
  put_nibbles(panel.nibbles, row, block.qs);
  panel.d[row] = block.d;
}
inline void put(PanelQ4_1& panel, int row, const BlockQ4_1& block) {
  put_nibbles(panel.nibbles, row, block.qs);
  panel.d[row] = block.d;
  panel.m[row] = block.m;
}
inline void put(PanelQ5_0& panel, int row, const BlockQ5_0& block) {
  put_nibbles(panel.nibbles, row, block.qs);
  put_fifth_bits(panel.bits, row, block.qh);
  panel.d[row] = block.d;
}
inline void put(PanelQ5_1& panel, int row, const BlockQ5_1& block) {
  put_nibbles(panel.nibbles, row, block.qs);
  put_fifth_bits(panel.bits, row, block.qh);
  panel.d[row] = block.d;
  panel.m[row] = block.m;
}
inline void put(PanelQ4_K& panel, int row, const BlockQ4_K& block) {
  for (int j = 0; j < 8; ++j) {
    PanelQ4_K::Sub& sub = panel.sub[j];
    put_halved_nibbles(sub.nibbles, row, block.qs + j / 2 * 32, j % 2 == 1);
    const ScaleMin pair = block.scale_min(j);
    sub.scale[row] = static_cast<uint8_t>(pair.scale);
    sub.min[row] = static_cast<uint8_t>(pair.min);
  }
  panel.d[row] = block.d;
  panel.dmin[row] = block.dmin;
}
inline void put(PanelQ5_K& panel, int row, const BlockQ5_K& block) {
  for (int j = 0; j < 8; ++j) {
    PanelQ5_K::Sub& sub = panel.sub[j];
    put_halved_nibbles(sub.nibbles, row, block.qs + j / 2 * 32, j % 2 == 1);
    uint32_t bits = 0;
    for (int n = 0; n < 8; ++n) bits |= (load_word(block.qh + 4 * n) >> j & 0x01010101) << n;
    store_word(sub.bits + place_of(0, row), bits);
    const ScaleMin pair = block.scale_min(j);
    sub.scale[row] = static_cast<uint8_t>(pair.scale);
    sub.min[row] = static_cast<uint8_t>(pair.min);
  }
  panel.d[row] = block.d;
  panel.dmin[row] = block.dmin;
}
inline void put(PanelQ6_K& panel, int row, const BlockQ6_K& block) {
  for (int j = 0; j < 8; ++j) {
    PanelQ6_K::Sub& sub = panel.sub[j];
    const int half = j / 4;
    const int quarter = j % 4;
    put_halved_nibbles(sub.nibbles, row, block.ql + 64 * half + 32 * (quarter % 2), quarter >= 2);
    uint32_t words[2] = {};
    for (int n = 0; n < 8; ++n) {
      const uint32_t top = load_word(block.qh + 32 * half + 4 * n) >> (2 * quarter) & 0x03030303;
      words[n / 4] |= top << (n % 4 * 2);
    }
    for (int part = 0; part < 2; ++part) {
      store_word(sub.bits + place_of(part, row), words[part]);
      sub.scale[part][row] = block.scales[2 * j + part];
    }
  }
  panel.d[row] = block.d;
}

inline void get(const PanelF32& panel, int row, float* out) { *out = panel.values[row]; }
inline void get(const PanelF16& panel, int row, float* out) {
  *out = f32_of_f16(panel.values[row]);
}
inline void get(const PanelBF16& panel, int row, float* out) {
  *out = f32_of_bf16(panel.values[row]);
}
inline void get(const PanelQ8_0& panel, int row, float* out) {
  const float scale = f32_of_f16(panel.d[row]);
  for (int k = 0; k < 32; ++k) {
    out[k] = scale * static_cast<float>(panel.codes[place_of(k / 4, row) + k % 4]);
  }
}
inline void get(const PanelQ4_0& panel, int row, float* out) {
  const float scale = f32_of_f16(panel.d[row]);
  for (int k = 0; k < 32; ++k) {
    out[k] = scale * static_cast<float>(nibble_at(panel.nibbles, row, k) - 8);
  }
}
inline void get(const PanelQ4_1& panel, int row, float* out) {
  const float scale = f32_of_f16(panel.d[row]);
  const float offset = f32_of_f16(panel.m[row]);
  for (int k = 0; k < 32; ++k) {
    out[k] = scale * static_cast<float>(nibble_at(panel.nibbles, row, k)) + offset;
  }
}
inline void get(const PanelQ5_0& panel, int row, float* out) {
  const float scale = f32_of_f16(panel.d[row]);
  for (int k = 0; k < 32; ++k) {
    out[k] = scale * static_cast<float>(code_at(panel.nibbles, panel.bits, row, k) - 16);
  }
}
inline void get(const PanelQ5_1& panel, int row, float* out) {
  const float scale = f32_of_f16(panel.d[row]);
  const float offset = f32_of_f16(panel.m[row]);
  for (int k = 0; k < 32; ++k) {
    out[k] = scale * static_cast<float>(code_at(panel.nibbles, panel.bits, row, k)) + offset;
  }
}
inline void get(const PanelQ4_K& panel, int row, float* out) {
  for (const PanelQ4_K::Sub& sub : panel.sub) {
    const float scale = f32_of_f16(panel.d[row]) * static_cast<float>(sub.scale[row]);
    const float min = f32_of_f16(panel.dmin[row]) * static_cast<float>(sub.min[row]);
    for (int k = 0; k < 32; ++k) {
      *out++ = scale * static_cast<float>(nibble_at(sub.nibbles, row, k)) - min;
    }
  }
}
inline void get(const PanelQ5_K& panel, int row, float* out) {
  for (const PanelQ5_K::Sub& sub : panel.sub) {
    const float scale = f32_of_f16(panel.d[row]) * static_cast<float>(sub.scale[row]);
    const float min = f32_of_f16(panel.dmin[row]) * static_cast<float>(sub.min[row]);
    for (int k = 0; k < 32; ++k) {
      *out++ = scale * static_cast<float>(code_at(sub.nibbles, sub.bits, row, k)) - min;
    }
  }
}
inline void get(const PanelQ6_K& panel, int row, float* out) {
  for (const PanelQ6_K::Sub& sub : panel.sub) {
    for (int k = 0; k < 32; ++k) {
      const float scale = f32_of_f16(panel.d[row]) * static_cast<float>(sub.scale[k / 16][row]);
      *out++ = scale * static_cast<float>(code_at(sub.nibbles, sub.bits, row, k) - 32);
    }
  }
}

}  // namespace millrace
