#include "exec/softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "base/check.h"
#include "exec/float4.h"

namespace millrace {
namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();
constexpr double kLargest = std::numeric_limits<float>::max();

// index_at() looks for its place first among sums of this many weights.
constexpr size_t kStretch = 256;

// Fractions of 53 bits stand for the interval up to the next one: zero for its middle.
constexpr double kLeastFraction = 0x1p-54;

std::span<const float> stretch_at(std::span<const float> weights, size_t stretch) {
  const size_t start = stretch * kStretch;
  return weights.subspan(start, std::min(kStretch, weights.size() - start));
}

double stretch_sum(std::span<const float> weights) {
  Sum4 sum;
  for (size_t i = 0; i < weights.size(); i += kFour) sum.add(load4(weights, i, 0));
  return sum.total();
}

size_t stretches_of(std::span<const float> weights) {
  return (weights.size() + kStretch - 1) / kStretch;
}

// The first index at which the running sum of a stretch passes `target`, which is below the sum of
// its weights as Sum4 has it. Added one by one, the weights may sum to a little less than that:
// then the last one that moves the running sum.
size_t index_within(std::span<const float> weights, double target) {
  double passed = 0;
  size_t last = 0;
  for (size_t i = 0; i < weights.size() && passed <= target; ++i) {
    const double sum = passed + weights[i];
    if (sum > passed) last = i;
    passed = sum;
  }
  return last;
}

struct Place {
  size_t stretch = 0;
  double target = 0;  // within the stretch
};

// The stretch in which the running sum over `stretches` passes `fraction` of `whole`, which is the
// sum of them in that order.
template <typename SumOf>
Place place_at(size_t stretches, double fraction, double whole, const SumOf& sum_of) {
  const double target = std::max(fraction, kLeastFraction) * whole;
  double before = 0;
  for (size_t i = 0; i < stretches; ++i) {
    const double sum = sum_of(i);
    if (before + sum > target) return {i, target - before};
    before += sum;
  }
  check_failed(__FILE__, __LINE__, "a weight above zero", "nothing to draw from");
}

// Puts function(four values) in place of each four.
template <typename Function>
void map4(std::span<const float> in, std::span<float> out, const Function& function) {
  size_t i = 0;
  for (; i + kFour <= in.size(); i += kFour) {
    store4(out.data() + i, function(load4(in.data() + i)));
  }
  const Float4 last = function(load4(in, i, kNothing));
  for (size_t lane = 0; i + lane < in.size(); ++lane) out[i + lane] = last[lane];
}

}  // namespace

float max_of(std::span<const float> values) {
  Float4 top = all4(kNothing);
  for (size_t i = 0; i < values.size(); i += kFour) top = max4(load4(values, i, kNothing), top);
  return largest_of4(top);
}

Weighing::Weighing(float max, float temperature)
    : max_(max),
      per_logit_(static_cast<float>(std::min(std::numbers::log2e / temperature, kLargest))) {}

void weigh(std::span<const float> logits, const Weighing& weighing, std::span<float> weights) {
  map4(logits, weights, weighing);
}

void scale_logits(std::span<const float> logits, float max, float temperature,
                  std::span<float> scaled) {
  map4(logits, scaled, [=](Float4 x) { return (x - max) / temperature; });
}

double sum_of(std::span<const float> weights) {
  double sum = 0;
  for (size_t i = 0; i < stretches_of(weights); ++i) sum += stretch_sum(stretch_at(weights, i));
  return sum;
}

double entropy_of(std::span<const float> scaled, std::span<const float> weights, double total) {
  Sum4 weighted;
  for (size_t i = 0; i < weights.size(); i += kFour) {
    const Float4 weight = load4(weights, i, 0);
    weighted.add(weight * keep4(weight > 0, load4(scaled, i, 0)));  // zero times infinity is none
  }
  return std::log(total) - weighted.total() / total;
}

int32_t index_at(std::span<const float> weights, double fraction) {
  const auto sum_at = [&](size_t i) { return stretch_sum(stretch_at(weights, i)); };
  const Place place = place_at(stretches_of(weights), fraction, sum_of(weights), sum_at);
  const size_t within = index_within(stretch_at(weights, place.stretch), place.target);
  return static_cast<int32_t>(place.stretch * kStretch + within);
}

int32_t index_at(std::span<const double> sums, size_t block, double fraction,
                 absl::FunctionRef<std::span<const float>(size_t)> weights_of) {
  const double whole = std::accumulate(sums.begin(), sums.end(), 0.0);
  const Place place = place_at(sums.size(), fraction, whole, [&](size_t i) { return sums[i]; });
  const size_t within = index_within(weights_of(place.stretch), place.target);
  return static_cast<int32_t>(place.stretch * block + within);
}

}  // namespace millrace
