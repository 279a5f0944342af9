#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

// How a packed matrix lies in memory: panels of 16 rows, each a sequence of PanelX for k ascending.
// Only data: kernels of every instruction set include this.
//
// Rows are interleaved by fours of neighbours, so that 64 bytes hold 4 neighbours of each of the 16
// rows: what one 512-bit or two 256-bit products of bytes want. In what follows k is the place in a
// block of 32, r the row.

namespace millrace {

inline constexpr int kPanelRows = 16;

using PanelHalfs = uint16_t[kPanelRows];  // an f16 for each row

// Byte 64 i + 4 r + j, i below 4: bits 0 to 3 of k = 4 i + j in the low nibble, of k = 4 i + j + 16
// in the high.
using PanelNibbles = uint8_t[256];

// Byte 4 r + j: bit 4 of k is bit k / 4 for all k with k % 4 = j.
using PanelFifthBits = uint8_t[64];

// Byte 4 r + j: bits 4 and 5 of the k with k % 4 = j, from bit 2 (k / 4 % 4): k below 16 in the
// first 64 bytes, the others in the second.
using PanelTopBits = uint8_t[128];

struct PanelF32 {
  float values[kPanelRows];
};
struct PanelF16 {
  PanelHalfs values;
};
struct PanelBF16 {
  uint16_t values[kPanelRows];
};
struct PanelQ8_0 {
  int8_t codes[512];  // byte 64 i + 4 r + j: k = 4 i + j
  PanelHalfs d;
};
struct PanelQ4_0 {
  PanelNibbles nibbles;
  PanelHalfs d;
};
struct PanelQ4_1 {
  PanelNibbles nibbles;
  PanelHalfs d;
  PanelHalfs m;
};
struct PanelQ5_0 {
  PanelNibbles nibbles;
  PanelFifthBits bits;
  PanelHalfs d;
};
struct PanelQ5_1 {
  PanelNibbles nibbles;
  PanelFifthBits bits;
  PanelHalfs d;
  PanelHalfs m;
};
struct PanelMXFP4 {
  PanelNibbles nibbles;
  uint8_t e[kPanelRows];
};
struct PanelQ4_K {
  struct Sub {
    PanelNibbles nibbles;
    uint8_t scale[kPanelRows];
    uint8_t min[kPanelRows];
  };
  PanelHalfs d;
  PanelHalfs dmin;
  Sub sub[8];
};
struct PanelQ5_K {
  struct Sub {
    PanelNibbles nibbles;
    PanelFifthBits bits;
    uint8_t scale[kPanelRows];
    uint8_t min[kPanelRows];
  };
  PanelHalfs d;
  PanelHalfs dmin;
  Sub sub[8];
};
struct PanelQ6_K {
  struct Sub {
    PanelNibbles nibbles;
    PanelTopBits bits;
    int8_t scale[2][kPanelRows];  // k below 16, and from 16 on
  };
  PanelHalfs d;
  Sub sub[8];
};

}  // namespace millrace
