#include "exec/softmax.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cfloat>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace millrace {
namespace {

// Loops run over blocks of this many elements, each with an accumulator of its own: the order of
// every sum is fixed, and the compiler can put the lanes into vectors.
constexpr size_t kLanes = 16;
using Block = std::array<float, kLanes>;
using Sums = std::array<double, kLanes>;

constexpr float kNothing = -std::numeric_limits<float>::infinity();

// exp of each element, all at most 0: x = n ln 2 + r with |r| <= ln 2 / 2, the polynomial of exp(r)
// times 2^n. The Taylor terms up to r^7 leave (ln 2 / 2)^8 / 8! = 5e-9, far below float32's
// rounding; ln 2 is split so that n times its high part is exact (Cody and Waite 1980). Below -87
// the result would leave the normal numbers and is zero.
void exp_block(Block& x) {
  constexpr float kRound = 0x1.8p23F;  // adding it rounds to the nearest integer
  constexpr float kLn2High = 0.693359375F;
  constexpr float kLn2Low = -2.12194440e-4F;
  for (float& value : x) {
    const float shifted = value * 1.44269504F + kRound;
    const float n = shifted - kRound;
    const float r = (value - n * kLn2High) - n * kLn2Low;
    float p = 1.0F / 5040;
    p = p * r + 1.0F / 720;
    p = p * r + 1.0F / 120;
    p = p * r + 1.0F / 24;
    p = p * r + 1.0F / 6;
    p = p * r + 0.5F;
    p = p * r * r + r + 1.0F;
    const uint32_t exponent = (std::bit_cast<uint32_t>(shifted) + 127U) << 23;
    value = value < -87.0F ? 0.0F : p * std::bit_cast<float>(exponent);
  }
}

// The block at `start`, filled up with `filler` beyond the end.
Block load_block(std::span<const float> values, size_t start, float filler) {
  Block block;
  if (start + kLanes <= values.size()) {
    std::copy_n(values.data() + start, kLanes, block.data());
  } else {
    block.fill(filler);
    std::copy(values.begin() + static_cast<int64_t>(start), values.end(), block.begin());
  }
  return block;
}

double total(const Sums& sums) {
  double sum = 0;
  for (const double lane : sums) sum += lane;
  return sum;
}

// index_at() finds its place first among sums of this many weights.
constexpr size_t kStretch = 256;

double stretch_sum(std::span<const float> weights, size_t start) {
  Sums sums = {};
  for (size_t i = start; i < std::min(start + kStretch, weights.size()); i += kLanes) {
    const Block block = load_block(weights, i, 0);
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += block[lane];
  }
  return total(sums);
}

// As index_at, within the stretch at `start`, whose sum is above `target`. Its weights in another
// order may sum to a little less: then the last one that is not zero.
int32_t index_within(std::span<const float> weights, size_t start, double target) {
  double passed = 0;
  size_t last = start;
  for (size_t i = start; i < std::min(start + kStretch, weights.size()) && passed <= target; ++i) {
    passed += weights[i];
    if (weights[i] > 0) last = i;
  }
  return static_cast<int32_t>(last);
}

}  // namespace

LogitScan scan_logits(std::span<const float> logits) {
  Block highest;
  highest.fill(kNothing);
  std::array<int32_t, kLanes> strange = {};
  for (size_t i = 0; i < logits.size(); i += kLanes) {
    const Block block = load_block(logits, i, kNothing);
    for (size_t lane = 0; lane < kLanes; ++lane) {
      highest[lane] = block[lane] > highest[lane] ? block[lane] : highest[lane];
      strange[lane] |= block[lane] <= FLT_MAX ? 0 : 1;
    }
  }
  LogitScan scan;
  scan.numbers = std::find(strange.begin(), strange.end(), 1) == strange.end();
  scan.max = *std::max_element(highest.begin(), highest.end());
  scan.argmax =
      static_cast<int32_t>(std::find(logits.begin(), logits.end(), scan.max) - logits.begin());
  return scan;
}

double SoftmaxSums::log_weight() const { return std::log(weight); }

double SoftmaxSums::entropy() const { return log_weight() - weighted / weight; }

SoftmaxSums softmax_sums(std::span<const float> logits, float max) {
  Sums weight = {};
  Sums weighted = {};
  for (size_t i = 0; i < logits.size(); i += kLanes) {
    Block x = load_block(logits, i, kNothing);
    for (float& value : x) value -= max;
    Block e = x;
    exp_block(e);
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const double exponent = e[lane] > 0 ? x[lane] : 0;  // minus infinity times zero is no number
      weight[lane] += e[lane];
      weighted[lane] += e[lane] * exponent;
    }
  }
  return {.weight = total(weight), .weighted = total(weighted)};
}

void softmax_weights(std::span<const float> logits, float max, float temperature,
                     std::span<float> scaled, std::span<float> weights) {
  for (size_t i = 0; i < logits.size(); i += kLanes) {
    Block x = load_block(logits, i, kNothing);
    for (float& value : x) value = (value - max) / temperature;
    const size_t count = std::min(kLanes, logits.size() - i);
    std::copy_n(x.data(), count, scaled.data() + i);
    exp_block(x);
    std::copy_n(x.data(), count, weights.data() + i);
  }
}

double sum_of(std::span<const float> weights) {
  double sum = 0;
  for (size_t i = 0; i < weights.size(); i += kStretch) sum += stretch_sum(weights, i);
  return sum;
}

int32_t index_at(std::span<const float> weights, double fraction) {
  const double target = fraction * sum_of(weights);
  double before = 0;
  for (size_t start = 0; start < weights.size(); start += kStretch) {
    const double stretch = stretch_sum(weights, start);
    if (before + stretch > target) return index_within(weights, start, target - before);
    before += stretch;
  }
  check_failed(__FILE__, __LINE__, "a weight above zero", "nothing to draw from");
}

}  // namespace millrace
