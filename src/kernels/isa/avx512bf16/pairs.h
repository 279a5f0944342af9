#pragma once

#include <cstdint>
#include <immintrin.h>

#include "kernels/isa/avx512/simd.h"

// Products of pairs by VDPBF16PS: see isa/portable/pairs.h for what each primitive must do.

namespace millrace {
namespace {

struct Pairs {
  using Pair = __m512bh;

  static Pair weights(const uint16_t* even, const uint16_t* odd) {
    return reinterpret_cast<Pair>(_mm512_or_si512(wide(even), _mm512_slli_epi32(wide(odd), 16)));
  }
  static Pair last_weights(const uint16_t* even) { return reinterpret_cast<Pair>(wide(even)); }
  static Pair load(const uint16_t* p) { return reinterpret_cast<Pair>(_mm512_loadu_si512(p)); }
  static void store(uint16_t* p, Pair v) { _mm512_storeu_si512(p, reinterpret_cast<__m512i>(v)); }
  static void transpose(Pair (&rows)[16]) {
    Simd::Float pairs[16];
    MILLRACE_UNROLL
    for (int i = 0; i < 16; ++i) pairs[i] = reinterpret_cast<Simd::Float>(rows[i]);
    Simd::transpose(pairs);
    MILLRACE_UNROLL
    for (int i = 0; i < 16; ++i) rows[i] = reinterpret_cast<Pair>(pairs[i]);
  }
  static Pair input(const uint16_t* p) {
    int32_t pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return reinterpret_cast<Pair>(_mm512_set1_epi32(pair));
  }
  static Pair last_input(const uint16_t* p) {
    return reinterpret_cast<Pair>(_mm512_set1_epi32(*p));
  }
  static Simd::Float dot(Simd::Float sum, Pair weights, Pair input) {
    return _mm512_dpbf16_ps(sum, weights, input);
  }

 private:
  static __m512i wide(const uint16_t* p) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
};

}  // namespace
}  // namespace millrace
