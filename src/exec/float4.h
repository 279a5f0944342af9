#pragma once

#include <algorithm>
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

inline Float4 select4(Int4 mask, Float4 yes, Float4 no) { return mask ? yes : no; }

inline Float4 max4(Float4 a, Float4 b) { return a > b ? a : b; }

inline float largest_of4(Float4 v) {
  v = max4(v, __builtin_shufflevector(v, v, 2, 3, 0, 1));
  return std::max(v[0], v[1]);
}

// Sums of four floats at a time, in double.
class Sum4 {
 public:
  void add(Float4 v) {
    const auto wide = __builtin_convertvector(v, Double4);
    low_ += __builtin_shufflevector(wide, wide, 0, 1);
    high_ += __builtin_shufflevector(wide, wide, 2, 3);
  }
  double total() const { return (low_[0] + low_[1]) + (high_[0] + high_[1]); }

 private:
  using Double2 = double __attribute__((vector_size(16)));
  using Double4 = double __attribute__((vector_size(32)));
  Double2 low_ = {};
  Double2 high_ = {};
};

// 2^y of what is at most 0: y = n + f with |f| <= 1/2, a polynomial of 2^f whose exponent n is
// added to. It is 1 + f g(f), g through 2^f's values at the 6 Chebyshev nodes, which is 9.2e-9 from
// 2^f at most, below float32's rounding. Pairs of terms in parallel make the chain of operations
// short. Below kLeastExponent the result could leave the normal numbers and is zero.
inline constexpr float kLeastExponent = -125.5F;
inline Float4 exp2_4(Float4 y) {
  constexpr float kRound = 0x1.8p23F;  // adding it rounds to the nearest integer
  const Float4 shifted = y + kRound;
  const Float4 f = y - (shifted - kRound);
  const Float4 f2 = f * f;
  const Float4 low = f * 0.693147182F + 1.0F;
  const Float4 middle = f * 0.0555035695F + 0.240226507F;
  const Float4 high = f * 0.00133908633F + 0.00961808302F;
  const Float4 p = ((f2 * 0.000154531634F + high) * f2 + middle) * f2 + low;
  const Uint4 exponent = std::bit_cast<Uint4>(shifted) << 23;
  return keep4(y >= kLeastExponent, std::bit_cast<Float4>(std::bit_cast<Uint4>(p) + exponent));
}

}  // namespace millrace
