#include "quant/block_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "quant/codes.h"
#include "tensor/float_bits.h"

namespace millrace {
namespace {

constexpr int kAffineElements = 32;     // of a sub-block
constexpr int kSymmetricElements = 16;  // of a sub-block
constexpr int kSymmetricZero = 32;      // codes are 6 bits, this one means 0
constexpr float kRangeStep = 0.1F;

// value = scale * code - min, min >= 0.
struct Affine {
  float scale = 0;
  float min = 0;
};

// Large elements matter more than their share of the square error: their products do.
std::array<float, kAffineElements> importance_of(std::span<const float, kAffineElements> in) {
  float squares = 0;
  for (const float x : in) squares += x * x;
  const float typical = std::sqrt(squares / kAffineElements);
  std::array<float, kAffineElements> weights;
  for (size_t i = 0; i < in.size(); ++i) weights[i] = typical + std::fabs(in[i]);
  return weights;
}

// Weighted least squares of x = scale * code - min over given codes, min kept from going negative.
struct AffineSums {
  float w = 0, x = 0, code = 0, code2 = 0, x_code = 0;

  void add(float weight, float value, float code_value) {
    w += weight;
    x += weight * value;
    code += weight * code_value;
    code2 += weight * code_value * code_value;
    x_code += weight * value * code_value;
  }

  // Scale 0 where all codes are one and no line is determined.
  Affine fit() const {
    const float determinant = w * code2 - code * code;
    if (!(determinant > 0)) return {};
    const float offset = (code2 * x - code * x_code) / determinant;
    if (offset > 0) return {x_code / code2, 0};
    return {(w * x_code - x * code) / determinant, -offset};
  }
};

float error_of(std::span<const float, kAffineElements> in,
               std::span<const float, kAffineElements> weights, Affine line, int top) {
  const float inverse = reciprocal_or_zero(line.scale);
  float error = 0;
  for (size_t i = 0; i < in.size(); ++i) {
    const auto code = static_cast<float>(nearest_code((in[i] + line.min) * inverse, 0, top));
    const float miss = line.scale * code - line.min - in[i];
    error += weights[i] * miss * miss;
  }
  return error;
}

Affine best_affine(std::span<const float, kAffineElements> in, const AffineSearch& search) {
  Bounds bounds = bounds_of(in);
  bounds.min = std::min(bounds.min, 0.0F);
  const float range = bounds.max - bounds.min;
  if (!(range > 0) || !std::isfinite(range)) return {0, -bounds.min};
  const auto weights = importance_of(in);
  Affine best = {range / static_cast<float>(search.top), -bounds.min};
  float least = error_of(in, weights, best, search.top);
  for (int step = 0; step <= search.steps; ++step) {
    const float inverse =
        (static_cast<float>(search.top) + search.first + kRangeStep * static_cast<float>(step)) /
        range;
    AffineSums sums;
    for (size_t i = 0; i < in.size(); ++i) {
      const int code = nearest_code((in[i] - bounds.min) * inverse, 0, search.top);
      sums.add(weights[i], in[i], static_cast<float>(code));
    }
    const Affine line = sums.fit();
    if (!(line.scale > 0)) continue;
    const float error = error_of(in, weights, line, search.top);
    if (error < least) {
      least = error;
      best = line;
    }
  }
  return best;
}

// The scale with which codes -32 to 31 come closest to the elements, each weighted by its square
// (the sum over x^2 (x - scale * code)^2 is least where numerator^2 / denominator is greatest).
float best_symmetric(std::span<const float, kSymmetricElements> in) {
  constexpr int kSteps = 9;  // to each side
  const float extreme = extreme_of(in);
  if (extreme == 0 || !std::isfinite(extreme)) return 0;
  float best = 0;
  float most = 0;
  for (int step = -kSteps; step <= kSteps; ++step) {
    const float inverse =
        -(static_cast<float>(kSymmetricZero) + kRangeStep * static_cast<float>(step)) / extreme;
    float numerator = 0;
    float denominator = 0;
    for (const float x : in) {
      const auto code =
          static_cast<float>(nearest_code(x * inverse, -kSymmetricZero, kSymmetricZero - 1));
      numerator += x * x * x * code;
      denominator += x * x * code * code;
    }
    if (denominator > 0 && numerator * numerator > most * denominator) {
      most = numerator * numerator / denominator;
      best = numerator / denominator;
    }
  }
  return best;
}

}  // namespace

AffineBlock search_affine_block(const float* in, const AffineSearch& search) {
  constexpr int kTopPair = 63;  // six bits
  std::array<Affine, 8> lines;
  float scale_max = 0;
  float min_max = 0;
  for (size_t j = 0; j < lines.size(); ++j) {
    lines[j] = best_affine(
        std::span<const float, kAffineElements>(in + j * kAffineElements, kAffineElements), search);
    scale_max = std::max(scale_max, lines[j].scale);
    min_max = std::max(min_max, lines[j].min);
  }
  AffineBlock block{};
  block.d = f16_of_f32(scale_max / kTopPair);
  block.dmin = f16_of_f32(min_max / kTopPair);
  const float scale_inverse = reciprocal_or_zero(scale_max / kTopPair);
  const float min_inverse = reciprocal_or_zero(min_max / kTopPair);
  for (size_t j = 0; j < lines.size(); ++j) {
    const ScaleMin pair = {nearest_code(lines[j].scale * scale_inverse, 0, kTopPair),
                           nearest_code(lines[j].min * min_inverse, 0, kTopPair)};
    block.pairs[j] = pair;
    const float inverse = reciprocal_or_zero(f32_of_f16(block.d) * static_cast<float>(pair.scale));
    const float min = f32_of_f16(block.dmin) * static_cast<float>(pair.min);
    for (size_t e = j * kAffineElements; e < (j + 1) * kAffineElements; ++e) {
      block.codes[e] = static_cast<uint8_t>(nearest_code((in[e] + min) * inverse, 0, search.top));
    }
  }
  return block;
}

SymmetricBlock search_symmetric_block(const float* in) {
  constexpr float kTopScale = -128;  // the scale furthest from zero gets the one code beyond 127
  std::array<float, 16> scales;
  for (size_t j = 0; j < scales.size(); ++j) {
    scales[j] = best_symmetric(std::span<const float, kSymmetricElements>(
        in + j * kSymmetricElements, kSymmetricElements));
  }
  const float unit = extreme_of(scales) / kTopScale;
  const float unit_inverse = reciprocal_or_zero(unit);
  SymmetricBlock block{};
  block.d = f16_of_f32(unit);
  for (size_t j = 0; j < scales.size(); ++j) {
    const int scale = nearest_code(scales[j] * unit_inverse, -128, 127);
    block.scales[j] = static_cast<int8_t>(scale);
    const float inverse = reciprocal_or_zero(f32_of_f16(block.d) * static_cast<float>(scale));
    for (size_t e = j * kSymmetricElements; e < (j + 1) * kSymmetricElements; ++e) {
      const int code = nearest_code(in[e] * inverse, -kSymmetricZero, kSymmetricZero - 1);
      block.codes[e] = static_cast<uint8_t>(code + kSymmetricZero);
    }
  }
  return block;
}

}  // namespace millrace
