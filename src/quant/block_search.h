#pragma once

#include <cstdint>

#include "quant/formats/k_scales.h"

// Finding good codes for the formats whose blocks have two levels of scales: each sub-block tries
// a few ranges and keeps the one with the least weighted square error after a least-squares refit.

namespace millrace {

// Codes 0 to `top`; the ranges tried are (top + first + 0.1 * i) / (max - min), i = 0 to `steps`.
struct AffineSearch {
  int top;
  float first;
  int steps;
};

struct AffineBlock {
  uint16_t d, dmin;  // f16
  ScaleMin pairs[8];
  uint8_t codes[256];
};
AffineBlock search_affine_block(const float* in, const AffineSearch& search);  // in: [256]

struct SymmetricBlock {
  uint16_t d;  // f16
  int8_t scales[16];
  uint8_t codes[256];  // 0 to 63, 32 is zero
};
SymmetricBlock search_symmetric_block(const float* in);  // in: [256]

}  // namespace millrace
