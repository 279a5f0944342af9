#pragma once

#include <cstdint>
#include <immintrin.h>

// The primitives of AVX-512 F, BW, VL, DQ and VNNI: 16 lanes. isa/portable/simd.h says what each
// must do. In an unnamed namespace for the reason that isa/avx2/simd.h gives.

// Before a loop whose arrays are to become registers.
#if defined(__clang__)
#define MILLRACE_UNROLL _Pragma("unroll")
#else
#define MILLRACE_UNROLL _Pragma("GCC unroll 8")
#endif

namespace millrace {
namespace {

struct Simd {
  static constexpr bool kWideSums = true;
  static constexpr int kLanes = 16;
  static constexpr int kColumns = 4;
  static constexpr int64_t kSpreadColumns = 3;
  using Float = __m512;
  using Int = __m512i;
  using Mask = __mmask16;
  using Bytes = __m512i;
  using Dots = __m512i;  // 32-bit sums, one for each row

  static Float zero() { return _mm512_setzero_ps(); }
  static Float set1(float x) { return _mm512_set1_ps(x); }
  static Float load(const float* p) { return _mm512_loadu_ps(p); }
  static Float load_f16(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Float load_bf16(const uint16_t* p) {
    const Int wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
  }
  static Float load_u8(const uint8_t* p) {
    return _mm512_cvtepi32_ps(
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static Float load_i8(const int8_t* p) {
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static Float load_half_e8m0(const uint8_t* p) {
    const Int e = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    const Int one = _mm512_set1_epi32(1);
    const Int normal = _mm512_slli_epi32(_mm512_sub_epi32(e, one), 23);
    const Int subnormal = _mm512_slli_epi32(_mm512_add_epi32(e, one), 21);  // e of 0 and 1
    return _mm512_castsi512_ps(_mm512_max_epi32(normal, subnormal));
  }
  static void store(float* p, Float v) { _mm512_storeu_ps(p, v); }
  static void store_f16(uint16_t* p, Float v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static void store_bf16(uint16_t* p, Float v) {
    const Int bits = _mm512_castps_si512(v);
    const Int high = _mm512_srli_epi32(bits, 16);
    const Int odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
    const Int rounded = _mm512_srli_epi32(
        _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    const Int quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
    const Mask is_nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    const Int result = _mm512_mask_blend_epi32(is_nan, rounded, quiet);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(result));
  }

  static Mask first(int n) { return static_cast<Mask>(n >= 16 ? 0xffff : (1U << n) - 1); }
  static Mask less(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static Float select(Mask mask, Float yes, Float no) {
    return _mm512_mask_blend_ps(mask, no, yes);
  }
  static Float load_first(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
  static void store_first(float* p, Float v, int n) { _mm512_mask_storeu_ps(p, first(n), v); }

  static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm512_sub_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float div(Float a, Float b) { return _mm512_div_ps(a, b); }
  static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static Float max(Float a, Float b) { return _mm512_max_ps(a, b); }
  static Float min(Float a, Float b) { return _mm512_min_ps(a, b); }
  static Float sqrt(Float v) { return _mm512_sqrt_ps(v); }
  static Float abs(Float v) { return _mm512_abs_ps(v); }
  static Float round(Float v) {
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // First columns of four rows in each 128 bits, then these from all rows.
  static void transpose(Float (&rows)[16]) {
    Float quarters[16];
    MILLRACE_UNROLL
    for (int i = 0; i < 16; i += 4) {
      const __m512d low = _mm512_castps_pd(_mm512_unpacklo_ps(rows[i], rows[i + 1]));
      const __m512d high = _mm512_castps_pd(_mm512_unpackhi_ps(rows[i], rows[i + 1]));
      const __m512d next_low = _mm512_castps_pd(_mm512_unpacklo_ps(rows[i + 2], rows[i + 3]));
      const __m512d next_high = _mm512_castps_pd(_mm512_unpackhi_ps(rows[i + 2], rows[i + 3]));
      quarters[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, next_low));
      quarters[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, next_low));
      quarters[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high, next_high));
      quarters[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high, next_high));
    }
    MILLRACE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const Float even = _mm512_shuffle_f32x4(quarters[i], quarters[i + 4], 0x88);
      const Float odd = _mm512_shuffle_f32x4(quarters[i], quarters[i + 4], 0xdd);
      const Float next_even = _mm512_shuffle_f32x4(quarters[i + 8], quarters[i + 12], 0x88);
      const Float next_odd = _mm512_shuffle_f32x4(quarters[i + 8], quarters[i + 12], 0xdd);
      rows[i] = _mm512_shuffle_f32x4(even, next_even, 0x88);
      rows[i + 4] = _mm512_shuffle_f32x4(odd, next_odd, 0x88);
      rows[i + 8] = _mm512_shuffle_f32x4(even, next_even, 0xdd);
      rows[i + 12] = _mm512_shuffle_f32x4(odd, next_odd, 0xdd);
    }
  }
  static Int to_int(Float v) { return _mm512_cvtps_epi32(v); }
  static Float to_float(Int v) { return _mm512_cvtepi32_ps(v); }
  static void store_i8(int8_t* p, Int v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
  }
  static Float power_of_two(Int n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
  }
  static float sum(Float v) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float max_lane(Float v) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }

  static Bytes load_bytes(const void* p) { return _mm512_loadu_si512(p); }
  static void store_bytes(void* p, Bytes v) { _mm512_storeu_si512(p, v); }
  static Bytes low_nibbles(Bytes v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
  static Bytes high_nibbles(Bytes v) { return low_nibbles(_mm512_srli_epi16(v, 4)); }
  static Bytes look_up(const uint8_t (&table)[16], Bytes v) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(bytes), v);
  }
  static Bytes move_bits(Bytes v, int mask, int from, int to) {
    if (from < to) v = _mm512_slli_epi16(v, static_cast<unsigned>(to - from));
    if (from > to) v = _mm512_srli_epi16(v, static_cast<unsigned>(from - to));
    return _mm512_and_si512(v, _mm512_set1_epi8(static_cast<char>(mask << to)));
  }
  static Bytes either(Bytes a, Bytes b) { return _mm512_or_si512(a, b); }
  static Float unsigned_byte(Bytes v, int byte) {
    return to_float(_mm512_and_si512(_mm512_srli_epi32(v, static_cast<unsigned>(8 * byte)),
                                     _mm512_set1_epi32(255)));
  }
  static Float signed_byte(Bytes v, int byte) {
    return to_float(
        _mm512_srai_epi32(_mm512_slli_epi32(v, static_cast<unsigned>(24 - 8 * byte)), 24));
  }

  using Four = const int8_t*;
  static Four four(const int8_t* p) { return p; }
  static int32_t lane_sums(int first, int second) { return first + second; }
  static Dots start_at(int32_t minus_sum) { return _mm512_set1_epi32(minus_sum); }
  // A shift leaves the multipliers to the products.
  template <int kOffset>
  static Dots start(int32_t minus_sum) {
    if constexpr (kOffset == 0) return _mm512_setzero_si512();
    static_assert((kOffset & (kOffset - 1)) == 0);
    return _mm512_slli_epi32(_mm512_set1_epi32(minus_sum),
                             static_cast<unsigned>(__builtin_ctz(kOffset)));
  }
  // GCC 12 does not fold the broadcast into the instruction by itself.
  static Dots dot(Dots sum, Bytes weights, Four in) {
    using Word = const int8_t[4];
    asm("vpdpbusd %2%{1to16%}, %1, %0"
        : "+v"(sum)
        : "v"(weights), "m"(*reinterpret_cast<Word*>(in)));
    return sum;
  }
  static Int total(Dots sum) { return sum; }
  using Scales = __m512i;
  static Scales load_scales(const int8_t* p) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Int scaled_total(Dots sum, Scales scales) { return _mm512_mullo_epi32(sum, scales); }
  static Int zero_int() { return _mm512_setzero_si512(); }
  static Int load_pairs(const uint8_t* first, const uint8_t* second) {
    const auto wide = [](const uint8_t* p) {
      return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    };
    return _mm512_or_si512(wide(first), _mm512_slli_epi32(wide(second), 16));
  }
  static Int dot_pairs(Int sum, Int pairs, const int16_t* in) {
    using Two = const int16_t[2];
    asm("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(pairs), "m"(*reinterpret_cast<Two*>(in)));
    return sum;
  }
  template <int kOffset>
  static Int offset_back(int32_t minus_sum) {
    return _mm512_set1_epi32(-kOffset * minus_sum);
  }
  static Int add(Int a, Int b) { return _mm512_add_epi32(a, b); }

  static Int start_signed(int32_t minus_sum) { return start<128>(minus_sum); }
  static Int dot_signed(Int sum, Bytes weights, Four in) {
    return dot(sum, _mm512_xor_si512(weights, _mm512_set1_epi8(-128)), in);
  }
};

}  // namespace
}  // namespace millrace
