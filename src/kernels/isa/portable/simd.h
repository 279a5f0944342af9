#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "tensor/float_bits.h"

// The contract of a Simd, and its portable twins: kLanes float lanes as a plain array, every
// operation rounded once as the instruction does, so that PortableSimd<8> and AVX2, and
// PortableSimd<16> and AVX-512, agree bit for bit (payloads of NaNs aside).

#define MILLRACE_UNROLL  // arrays stay arrays here

namespace millrace {
namespace {

template <int N>
struct PortableSimd {
  static constexpr int kLanes = N;
  // Columns that a product has in registers at a time, 2 or 4. Two: half as much to compile.
  static constexpr int kColumns = 2;
  // From so many columns on codes are unpacked once for all of them: below, unpacking again is
  // cheaper than storing and loading.
  static constexpr int64_t kSpreadColumns = 9;
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
  static Float load_i8(const int8_t* p) {
    return make([&](int i) { return static_cast<float>(p[i]); });
  }
  // Half of a power of two that has 8 bits of exponent and no others: 2^(p[i] - 128), which may be
  // subnormal. p[i] below 255.
  static Float load_half_e8m0(const uint8_t* p) {
    return make([&](int i) { return std::ldexp(1.0F, p[i] - 128); });
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
  // Element j of row i becomes element i of row j.
  static void transpose(Float (&rows)[N]) {
    for (int i = 0; i < N; ++i) {
      for (int j = 0; j < i; ++j) std::swap(rows[i].lane[j], rows[j].lane[i]);
    }
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

  // Bytes: four neighbours of each of kLanes rows; lane r holds bytes 4 r to 4 r + 3.
  struct Bytes {
    uint8_t byte[4 * N];
  };
  static Bytes load_bytes(const void* p) {
    Bytes v;
    std::memcpy(v.byte, p, sizeof v.byte);
    return v;
  }
  static void store_bytes(void* p, const Bytes& v) { std::memcpy(p, v.byte, sizeof v.byte); }
  static Bytes low_nibbles(const Bytes& v) { return move_bits(v, 15, 0, 0); }
  static Bytes high_nibbles(const Bytes& v) { return move_bits(v, 15, 4, 0); }
  // table[i] for each byte i, below 16.
  static Bytes look_up(const uint8_t (&table)[16], const Bytes& v) {
    Bytes result;
    for (int i = 0; i < 4 * N; ++i) result.byte[i] = table[v.byte[i] & 15];
    return result;
  }
  // The bits of `mask`, taken from bit `from` on, to bit `to` on.
  static Bytes move_bits(const Bytes& v, int mask, int from, int to) {
    Bytes result;
    for (int i = 0; i < 4 * N; ++i) {
      result.byte[i] = static_cast<uint8_t>((v.byte[i] >> from & mask) << to);
    }
    return result;
  }
  static Bytes either(const Bytes& a, const Bytes& b) {
    Bytes result;
    for (int i = 0; i < 4 * N; ++i) result.byte[i] = a.byte[i] | b.byte[i];
    return result;
  }
  static Float unsigned_byte(const Bytes& v, int byte) {
    return make([&](int i) { return static_cast<float>(v.byte[4 * i + byte]); });
  }
  static Float signed_byte(const Bytes& v, int byte) {
    return make(
        [&](int i) { return static_cast<float>(static_cast<int8_t>(v.byte[4 * i + byte])); });
  }

  // Integer products of unsigned weights below 64 with activations. Where sums are not wide they
  // are 16 bits and wrap, two for each row (products of neighbours 0 and 1, and of 2 and 3): what
  // counts is that the last one fits. With offset o the weights lie in [-o, o), so 8 steps of 4 or
  // 5 bits and 4 steps of 6 bits give at most 16 * 16 * 127 and 8 * 32 * 127, both 32512. Unsigned
  // codes of 4 bits fit without (16 * 15 * 127 = 30480), of 5 bits they need the offset
  // (offset_back undoes it) or to end after 4 steps (8 * 31 * 127 = 31496). Wide sums are 32 bits,
  // one for each row.
  static constexpr bool kWideSums = N == 16;
  static constexpr int kSums = kWideSums ? 1 : 2;
  struct Dots {
    int32_t sum[kSums * N];
  };
  using Four = const int8_t*;
  static Four four(const int8_t* p) { return p; }
  // Sums over neighbours 0 and 1, and over 2 and 3, of every four, each within 16 bits, as a lane
  // holds them: as one number or, where sums are not wide, the first in the lower 16 bits.
  static int32_t lane_sums(int first, int second) {
    if (kWideSums) return first + second;
    return static_cast<int32_t>(static_cast<uint32_t>(second) << 16 |
                                (static_cast<uint32_t>(first) & 0xffff));
  }
  // minus_sums times an offset
  static Dots start_at(int32_t minus_sums) {
    Dots dots;
    for (int i = 0; i < kSums * N; ++i) dots.sum[i] = lane_sum(minus_sums, i);
    return dots;
  }
  // kOffset: 0 or a power of two.
  template <int kOffset>
  static Dots start(int32_t minus_sums) {
    Dots dots;
    for (int i = 0; i < kSums * N; ++i) dots.sum[i] = lane_sum(minus_sums, i) * kOffset;
    return dots;
  }
  static Dots dot(Dots dots, const Bytes& weights, Four in) {
    for (int i = 0; i < 4 * N; ++i) {
      int32_t& sum = dots.sum[i * kSums / 4];
      sum += weights.byte[i] * in[i % 4];
      if constexpr (kSums == 2) sum = static_cast<int16_t>(sum);
    }
    return dots;
  }
  static Int total(const Dots& dots) {
    Int result;
    for (int i = 0; i < N; ++i) {
      result.lane[i] = kSums == 2 ? dots.sum[2 * i] + dots.sum[2 * i + 1] : dots.sum[i];
    }
    return result;
  }
  // `total` times a scale for each row.
  using Scales = Int;
  static Scales load_scales(const int8_t* p) {
    Int scales;
    for (int i = 0; i < N; ++i) scales.lane[i] = p[i];
    return scales;
  }
  static Int scaled_total(const Dots& dots, const Scales& scales) {
    Int result = total(dots);
    for (int i = 0; i < N; ++i) result.lane[i] *= scales.lane[i];
    return result;
  }
  static Int zero_int() { return {}; }
  // Numbers of 16 bits in pairs, one of each for each row.
  static Int load_pairs(const uint8_t* first, const uint8_t* second) {
    Int pairs;
    for (int i = 0; i < N; ++i) pairs.lane[i] = first[i] | second[i] << 16;
    return pairs;
  }
  // sum + the first of each pair * in[0] + the second * in[1]
  static Int dot_pairs(Int sum, const Int& pairs, const int16_t* in) {
    for (int i = 0; i < N; ++i) {
      sum.lane[i] += (pairs.lane[i] & 0xffff) * in[0] + (pairs.lane[i] >> 16) * in[1];
    }
    return sum;
  }
  template <int kOffset>
  static Int offset_back(int32_t minus_sums) {
    Int result;
    for (int32_t& lane : result.lane) {
      lane = 0;
      for (int i = 0; i < kSums; ++i) lane -= kOffset * lane_sum(minus_sums, i);
    }
    return result;
  }
  static Int add(Int a, const Int& b) {
    for (int i = 0; i < N; ++i) a.lane[i] += b.lane[i];
    return a;
  }

  // Products of signed weights of 8 bits. (AVX-512 multiplies weight + 128 and starts from what
  // that adds; both are exact.)
  static Int start_signed(int32_t) { return {}; }
  static Int dot_signed(Int sum, const Bytes& weights, Four in) {
    for (int i = 0; i < 4 * N; ++i) {
      sum.lane[i / 4] += static_cast<int8_t>(weights.byte[i]) * in[i % 4];
    }
    return sum;
  }

 private:
  static int32_t lane_sum(int32_t sums, int i) {
    if (kWideSums) return sums;
    return static_cast<int16_t>(i % 2 == 0 ? sums & 0xffff : sums >> 16);
  }
  template <typename F>
  static Float make(F lane) {
    Float result;
    for (int i = 0; i < N; ++i) result.lane[i] = lane(i);
    return result;
  }
};

}  // namespace
}  // namespace millrace
