#pragma once

#include <cstdint>
#include <immintrin.h>

// The primitives of AVX2 with FMA and F16C: 8 lanes. isa/portable/simd.h says what each must do.
// In an unnamed namespace, as everything built with these flags: no function that needs AVX2 may be
// merged by the linker with one that another file calls on a CPU without it.

// Before a loop whose arrays are to become registers.
#if defined(__clang__)
#define MILLRACE_UNROLL _Pragma("unroll")
#else
#define MILLRACE_UNROLL _Pragma("GCC unroll 8")
#endif

namespace millrace {
namespace {

struct Simd {
  static constexpr bool kWideSums = false;
  static constexpr int kLanes = 8;
  static constexpr int kColumns = 4;
  static constexpr int64_t kSpreadColumns = 9;
  using Float = __m256;
  using Int = __m256i;
  using Mask = __m256;
  using Bytes = __m256i;
  using Dots = __m256i;  // 16-bit sums, two for each row

  static Float zero() { return _mm256_setzero_ps(); }
  static Float set1(float x) { return _mm256_set1_ps(x); }
  static Float load(const float* p) { return _mm256_loadu_ps(p); }
  static Float load_f16(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Float load_bf16(const uint16_t* p) {
    const Int wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  }
  static Float load_u8(const uint8_t* p) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static Float load_i8(const int8_t* p) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static Float load_half_e8m0(const uint8_t* p) {
    const Int e = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    const Int one = _mm256_set1_epi32(1);
    const Int normal = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23);
    const Int subnormal = _mm256_slli_epi32(_mm256_add_epi32(e, one), 21);  // e of 0 and 1
    return _mm256_castsi256_ps(_mm256_max_epi32(normal, subnormal));
  }
  static void store(float* p, Float v) { _mm256_storeu_ps(p, v); }
  static void store_f16(uint16_t* p, Float v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static void store_bf16(uint16_t* p, Float v) {
    const Int bits = _mm256_castps_si256(v);
    const Int high = _mm256_srli_epi32(bits, 16);
    const Int odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    const Int rounded = _mm256_srli_epi32(
        _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    const Int quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    const Int is_nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const Int result = _mm256_blendv_epi8(rounded, quiet, is_nan);
    const Int packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(result, result), 0x88);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
  }

  static Mask first(int n) {
    const Int lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes));
  }
  static Mask less(Float a, Float b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
  static Float select(Mask mask, Float yes, Float no) { return _mm256_blendv_ps(no, yes, mask); }
  static Float load_first(const float* p, int n) {
    return _mm256_maskload_ps(p, _mm256_castps_si256(first(n)));
  }
  static void store_first(float* p, Float v, int n) {
    _mm256_maskstore_ps(p, _mm256_castps_si256(first(n)), v);
  }

  static Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm256_sub_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static Float div(Float a, Float b) { return _mm256_div_ps(a, b); }
  static Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static Float max(Float a, Float b) { return _mm256_max_ps(a, b); }
  static Float min(Float a, Float b) { return _mm256_min_ps(a, b); }
  static Float sqrt(Float v) { return _mm256_sqrt_ps(v); }
  static Float abs(Float v) { return _mm256_andnot_ps(set1(-0.0F), v); }
  static Float round(Float v) {
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // First columns of four rows in each 128 bits, then these from all rows.
  static void transpose(Float (&rows)[8]) {
    Float halves[8];
    MILLRACE_UNROLL
    for (int i = 0; i < 8; i += 4) {
      const __m256d low = _mm256_castps_pd(_mm256_unpacklo_ps(rows[i], rows[i + 1]));
      const __m256d high = _mm256_castps_pd(_mm256_unpackhi_ps(rows[i], rows[i + 1]));
      const __m256d next_low = _mm256_castps_pd(_mm256_unpacklo_ps(rows[i + 2], rows[i + 3]));
      const __m256d next_high = _mm256_castps_pd(_mm256_unpackhi_ps(rows[i + 2], rows[i + 3]));
      halves[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, next_low));
      halves[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, next_low));
      halves[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high, next_high));
      halves[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high, next_high));
    }
    MILLRACE_UNROLL
    for (int i = 0; i < 4; ++i) {
      rows[i] = _mm256_permute2f128_ps(halves[i], halves[i + 4], 0x20);
      rows[i + 4] = _mm256_permute2f128_ps(halves[i], halves[i + 4], 0x31);
    }
  }
  static Int to_int(Float v) { return _mm256_cvtps_epi32(v); }
  static Float to_float(Int v) { return _mm256_cvtepi32_ps(v); }
  static void store_i8(int8_t* p, Int v) {
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
  }
  static Float power_of_two(Int n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
  }
  static float sum(Float v) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static float max_lane(Float v) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }

  static Bytes load_bytes(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
  }
  static void store_bytes(void* p, Bytes v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
  static Bytes low_nibbles(Bytes v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
  static Bytes high_nibbles(Bytes v) { return low_nibbles(_mm256_srli_epi16(v, 4)); }
  static Bytes look_up(const uint8_t (&table)[16], Bytes v) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bytes), v);
  }
  static Bytes move_bits(Bytes v, int mask, int from, int to) {
    if (from < to) v = _mm256_slli_epi16(v, to - from);
    if (from > to) v = _mm256_srli_epi16(v, from - to);
    return _mm256_and_si256(v, _mm256_set1_epi8(static_cast<char>(mask << to)));
  }
  static Bytes either(Bytes a, Bytes b) { return _mm256_or_si256(a, b); }
  static Float unsigned_byte(Bytes v, int byte) {
    return to_float(_mm256_and_si256(_mm256_srli_epi32(v, 8 * byte), _mm256_set1_epi32(255)));
  }
  static Float signed_byte(Bytes v, int byte) {
    return to_float(_mm256_srai_epi32(_mm256_slli_epi32(v, 24 - 8 * byte), 24));
  }

  using Four = __m256i;
  static Four four(const int8_t* p) {
    int32_t word;
    __builtin_memcpy(&word, p, sizeof word);
    return _mm256_set1_epi32(word);
  }
  static int32_t lane_sums(int first, int second) {
    return static_cast<int32_t>(static_cast<uint32_t>(second) << 16 |
                                (static_cast<uint32_t>(first) & 0xffff));
  }
  static Dots start_at(int32_t minus_sums) { return _mm256_set1_epi32(minus_sums); }
  template <int kOffset>
  static Dots start(int32_t minus_sums) {
    if constexpr (kOffset == 0) return _mm256_setzero_si256();
    return _mm256_mullo_epi16(_mm256_set1_epi32(minus_sums), _mm256_set1_epi16(kOffset));
  }
  // The empty statements keep GCC from turning chains of sums into trees, whose many products at a
  // time do not fit into the registers.
  static Dots dot(Dots sum, Bytes weights, Four in) {
    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(weights, in));
    asm("" : "+x"(sum));
    return sum;
  }
  static Int total(Dots sum) { return _mm256_madd_epi16(sum, _mm256_set1_epi16(1)); }
  using Scales = __m256i;
  static Scales load_scales(const int8_t* p) {
    const Int wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    return _mm256_or_si256(_mm256_slli_epi32(wide, 16),
                           _mm256_and_si256(wide, _mm256_set1_epi32(0xffff)));
  }
  static Int scaled_total(Dots sum, Scales scales) { return _mm256_madd_epi16(sum, scales); }
  static Int zero_int() { return _mm256_setzero_si256(); }
  static Int load_pairs(const uint8_t* first, const uint8_t* second) {
    const auto wide = [](const uint8_t* p) {
      return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    };
    return _mm256_or_si256(wide(first), _mm256_slli_epi32(wide(second), 16));
  }
  static Int dot_pairs(Int sum, Int pairs, const int16_t* in) {
    int32_t two;
    __builtin_memcpy(&two, in, sizeof two);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi32(two)));
  }
  template <int kOffset>
  static Int offset_back(int32_t minus_sums) {
    return _mm256_madd_epi16(_mm256_set1_epi32(minus_sums), _mm256_set1_epi16(-kOffset));
  }
  static Int add(Int a, Int b) { return _mm256_add_epi32(a, b); }

  static Int start_signed(int32_t) { return _mm256_setzero_si256(); }
  static Int dot_signed(Int sum, Bytes weights, Four in) {
    const __m256i pairs =
        _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(in, weights));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    asm("" : "+x"(sum));
    return sum;
  }
};

}  // namespace
}  // namespace millrace
