#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "tensor/float_bits.h"

// The contract of a Simd, and its portable twins: kLanes float lanes as a plain array, every
// operation rounded once as the instruction does, so that PortableSimd<8> and AVX2, and
// PortableSimd<16> and AVX-512, agree bit for bit (payloads of NaNs aside).

namespace millrace {
namespace {

template <int N>
struct PortableSimd {
  static constexpr int kLanes = N;
  struct Float {
    float lane[N];
  };
  struct Int {
    int32_t lane[N];
  };
  struct Mask {
    bool lane[N];
  };

  // Memory needs no alignment.
  static Float zero() { return set1(0); }
  static Float set1(float x) {
    return make([&](int) { return x; });
  }
  static Float load(const float* p) {
    return make([&](int i) { return p[i]; });
  }
  static Float load_f16(const uint16_t* p) {
    return make([&](int i) { return f32_of_f16(p[i]); });
  }
  static Float load_bf16(const uint16_t* p) {
    return make([&](int i) { return f32_of_bf16(p[i]); });
  }
  static Float load_u8(const uint8_t* p) {
    return make([&](int i) { return static_cast<float>(p[i]); });
  }
  static void store(float* p, const Float& v) { store_first(p, v, N); }
  static void store_f16(uint16_t* p, const Float& v) {
    for (int i = 0; i < N; ++i) p[i] = f16_of_f32(v.lane[i]);
  }
  static void store_bf16(uint16_t* p, const Float& v) {
    for (int i = 0; i < N; ++i) p[i] = bf16_of_f32(v.lane[i]);
  }

  // Lanes below n, n in [0, kLanes]. load_first makes the others zero; neither touches memory
  // beyond n.
  static Mask first(int n) {
    Mask mask;
    for (int i = 0; i < N; ++i) mask.lane[i] = i < n;
    return mask;
  }
  static Mask less(const Float& a, const Float& b) {  // false with a NaN
    Mask mask;
    for (int i = 0; i < N; ++i) mask.lane[i] = a.lane[i] < b.lane[i];
    return mask;
  }
  static Float select(const Mask& mask, const Float& yes, const Float& no) {
    return make([&](int i) { return mask.lane[i] ? yes.lane[i] : no.lane[i]; });
  }
  static Float load_first(const float* p, int n) {
    return make([&](int i) { return i < n ? p[i] : 0.0F; });
  }
  static void store_first(float* p, const Float& v, int n) {
    for (int i = 0; i < n; ++i) p[i] = v.lane[i];
  }

  static Float add(const Float& a, const Float& b) {
    return make([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  static Float sub(const Float& a, const Float& b) {
    return make([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  static Float mul(const Float& a, const Float& b) {
    return make([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  static Float div(const Float& a, const Float& b) {
    return make([&](int i) { return a.lane[i] / b.lane[i]; });
  }
  static Float fma(const Float& a, const Float& b, const Float& c) {  // a * b + c
    return make([&](int i) { return std::fma(a.lane[i], b.lane[i], c.lane[i]); });
  }
  // Where one of the two is a NaN the result is b.
  static Float max(const Float& a, const Float& b) {
    return make([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static Float min(const Float& a, const Float& b) {
    return make([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static Float sqrt(const Float& v) {
    return make([&](int i) { return std::sqrt(v.lane[i]); });
  }
  static Float abs(const Float& v) {
    return make([&](int i) { return std::fabs(v.lane[i]); });
  }
  static Float round(const Float& v) {  // to nearest, ties to even
    return make([&](int i) { return std::nearbyint(v.lane[i]); });
  }
  static Int to_int(const Float& v) {  // rounded as `round`; within the range of int32
    Int result;
    for (int i = 0; i < N; ++i) result.lane[i] = static_cast<int32_t>(std::nearbyint(v.lane[i]));
    return result;
  }
  static Float to_float(const Int& v) {
    return make([&](int i) { return static_cast<float>(v.lane[i]); });
  }
  static void store_i8(int8_t* p, const Int& v) {  // lanes in [-128, 127]
    for (int i = 0; i < N; ++i) p[i] = static_cast<int8_t>(v.lane[i]);
  }
  static Float power_of_two(const Int& n) {  // n in [-126, 128]; 128 gives infinity
    return make(
        [&](int i) { return std::bit_cast<float>(static_cast<uint32_t>(n.lane[i] + 127) << 23); });
  }
  // Over lanes by halves: lane i with lane i + n / 2, then the same on what is left.
  static float sum(Float v) {
    for (int half = N / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) v.lane[i] += v.lane[i + half];
    }
    return v.lane[0];
  }
  static float max_lane(Float v) {
    for (int half = N / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) {
        v.lane[i] = v.lane[i] > v.lane[i + half] ? v.lane[i] : v.lane[i + half];
      }
    }
    return v.lane[0];
  }

 private:
  template <typename F>
  static Float make(F lane) {
    Float result;
    for (int i = 0; i < N; ++i) result.lane[i] = lane(i);
    return result;
  }
};

}  // namespace
}  // namespace millrace
