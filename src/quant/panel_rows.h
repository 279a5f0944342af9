#pragma once

#include <cstdint>
#include <cstring>

#include "quant/panel.h"

// Where a row's codes lie in a panel's block, and how they get there: what formats' put and get
// have in common.

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

}  // namespace millrace
