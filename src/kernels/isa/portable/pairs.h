#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/isa/portable/simd.h"

// The contract of a Pairs, the products of two bfloat16 neighbours at a time, and its portable twin
// over the lanes of PortableSimd<N>. A Pair holds two neighbours for each lane.

namespace millrace {
namespace {

template <int N>
struct PortablePairs {
  using Float = typename PortableSimd<N>::Float;
  struct Pair {
    uint16_t bits[2 * N];  // neighbour j of lane i at 2 i + j
  };

  // Two neighbours of N rows; where the second one lies behind the end it is zero.
  static Pair weights(const uint16_t* even, const uint16_t* odd) {
    return make([&](int i, int j) { return j == 0 ? even[i] : odd[i]; });
  }
  static Pair last_weights(const uint16_t* even) {
    return make([&](int i, int j) { return j == 0 ? even[i] : uint16_t{0}; });
  }
  static Pair load(const uint16_t* p) {
    Pair pair;
    std::memcpy(pair.bits, p, sizeof pair.bits);
    return pair;
  }
  static void store(uint16_t* p, const Pair& v) { std::memcpy(p, v.bits, sizeof v.bits); }
  // Pair i of row j becomes pair j of row i.
  static void transpose(Pair (&rows)[N]) {
    for (int j = 0; j < N; ++j) {
      for (int i = 0; i < j; ++i) {
        for (int k = 0; k < 2; ++k) std::swap(rows[j].bits[2 * i + k], rows[i].bits[2 * j + k]);
      }
    }
  }
  // The same two neighbours for all lanes.
  static Pair input(const uint16_t* p) {
    return make([&](int, int j) { return p[j]; });
  }
  static Pair last_input(const uint16_t* p) {
    return make([&](int, int j) { return j == 0 ? *p : uint16_t{0}; });
  }
  // sum + the product of the second neighbours, then + that of the first: each one fused
  // multiply-add that takes subnormal numbers for zero and makes none (Intel's manual, VDPBF16PS).
  static Float dot(Float sum, const Pair& weights, const Pair& input) {
    for (int i = 0; i < N; ++i) {
      for (const int k : {2 * i + 1, 2 * i}) {
        const float w = without_subnormals(f32_of_bf16(weights.bits[k]));
        const float x = without_subnormals(f32_of_bf16(input.bits[k]));
        sum.lane[i] = without_subnormals(std::fma(w, x, without_subnormals(sum.lane[i])));
      }
    }
    return sum;
  }

 private:
  template <typename F>
  static Pair make(F bits) {
    Pair pair;
    for (int k = 0; k < 2 * N; ++k) pair.bits[k] = bits(k / 2, k % 2);
    return pair;
  }
  static float without_subnormals(float x) {
    return std::fabs(x) < FLT_MIN ? std::copysign(0.0F, x) : x;
  }
};

}  // namespace
}  // namespace millrace
