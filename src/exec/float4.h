#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

namespace millrace {

// Four floats at a time in the compilers' own vector types: what every x86-64 and ARM64 has, so
// sampling needs no instruction set chosen at run time and adds in one order everywhere.
using Float4 = float __attribute__((vector_size(16)));
using Int4 = int32_t __attribute__((vector_size(16)));
using Uint4 = uint32_t __attribute__((vector_size(16)));

inline constexpr size_t kFour = 4;

inline Float4 all4(float x) { return Float4{x, x, x, x}; }

inline Float4 load4(const float* p) {
  Float4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline void store4(float* p, Float4 v) { std::memcpy(p, &v, sizeof v); }

// The four at `start`, filled up with `filler` beyond the end.
inline Float4 load4(std::span<const float> values, size_t start, float filler) {
  if (start + kFour <= values.size()) return load4(values.data() + start);
  Float4 v = all4(filler);
  for (size_t i = start; i < values.size(); ++i) v[i - start] = values[i];
  return v;
}

inline Float4 keep4(Int4 mask, Float4 v) {
  return std::bit_cast<Float4>(mask & std::bit_cast<Int4>(v));
}

inline bool any4(Int4 mask) {
  const auto halves = std::bit_cast<std::array<uint64_t, 2>>(mask);
  return (halves[0] | halves[1]) != 0;
}

inline Float4 max4(Float4 a, Float4 b) {
  const Int4 greater = a > b;
  return std::bit_cast<Float4>((greater & std::bit_cast<Int4>(a)) |
                               (~greater & std::bit_cast<Int4>(b)));
}

// exp of what is at most 0: x = n ln 2 + r with |r| <= ln 2 / 2, the polynomial of exp(r) times
// 2^n. The Taylor terms up to r^7 leave (ln 2 / 2)^8 / 8! = 5e-9, below float32's rounding; ln 2 is
// split so that n times its high part is exact (Cody and Waite 1980). Below -87 the result would
// leave the normal numbers and is zero.
inline Float4 exp4(Float4 x) {
  constexpr float kRound = 0x1.8p23F;  // adding it rounds to the nearest integer
  const Float4 shifted = x * 1.44269504F + kRound;
  const Float4 n = shifted - kRound;
  const Float4 r = (x - n * 0.693359375F) - n * -2.12194440e-4F;
  Float4 p = r * (1.0F / 5040) + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r * r + r + 1.0F;
  const Uint4 exponent = (std::bit_cast<Uint4>(shifted) + 127U) << 23;
  return keep4(x >= -87.0F, p * std::bit_cast<Float4>(exponent));
}

}  // namespace millrace
