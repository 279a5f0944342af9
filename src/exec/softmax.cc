#include "exec/softmax.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "exec/float4.h"

namespace millrace {
namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();

// Sums of four floats at a time, in double.
class Sum4 {
 public:
  void add(Float4 v) {
    low_ += Double2{double{v[0]}, double{v[1]}};
    high_ += Double2{double{v[2]}, double{v[3]}};
  }
  double total() const { return (low_[0] + low_[1]) + (high_[0] + high_[1]); }

 private:
  using Double2 = double __attribute__((vector_size(16)));
  Double2 low_ = {};
  Double2 high_ = {};
};

// index_at() looks for its place first among sums of this many weights.
constexpr size_t kStretch = 256;

// Fractions of 53 bits stand for the interval up to the next one: zero for its middle.
constexpr double kLeastFraction = 0x1p-54;

double stretch_sum(std::span<const float> weights, size_t start) {
  Sum4 sum;
  const size_t end = std::min(start + kStretch, weights.size());
  for (size_t i = start; i < end; i += kFour) sum.add(load4(weights, i, 0));
  return sum.total();
}

// The first index within the stretch at `start` at which its running sum passes `target`, which is
// below its stretch_sum. Added one by one, the weights may sum to a little less than that: then the
// last one that moves the running sum.
int32_t index_within(std::span<const float> weights, size_t start, double target) {
  const size_t end = std::min(start + kStretch, weights.size());
  double passed = 0;
  size_t last = start;
  for (size_t i = start; i < end && passed <= target; ++i) {
    const double sum = passed + weights[i];
    if (sum > passed) last = i;
    passed = sum;
  }
  return static_cast<int32_t>(last);
}

// The first index of a value that is in the row.
size_t find(std::span<const float> values, float value) {
  size_t i = 0;
  while (i + kFour <= values.size() && !any4(load4(values.data() + i) == value)) i += kFour;
  while (values[i] != value) ++i;
  return i;
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
  return std::max(std::max(top[0], top[1]), std::max(top[2], top[3]));
}

LogitScan scan_logits(std::span<const float> logits) {
  Int4 numbers = {-1, -1, -1, -1};
  for (size_t i = 0; i < logits.size(); i += kFour) {
    numbers &= load4(logits, i, kNothing) <= FLT_MAX;  // false with a NaN
  }
  LogitScan scan;
  scan.numbers = !any4(~numbers);
  if (!scan.numbers) return scan;
  scan.max = max_of(logits);
  scan.argmax = static_cast<int32_t>(find(logits, scan.max));
  return scan;
}

double SoftmaxSums::log_weight() const { return std::log(weight); }

double SoftmaxSums::entropy() const { return log_weight() - weighted / weight; }

SoftmaxSums softmax_sums(std::span<const float> logits, float max) {
  Sum4 weight;
  Sum4 weighted;
  for (size_t i = 0; i < logits.size(); i += kFour) {
    const Float4 x = load4(logits, i, kNothing) - max;
    const Float4 e = exp4(x);
    weight.add(e);
    weighted.add(e * keep4(e > 0, x));  // minus infinity times zero is no number
  }
  return {.weight = weight.total(), .weighted = weighted.total()};
}

void scale_logits(std::span<const float> logits, float max, float temperature,
                  std::span<float> scaled) {
  map4(logits, scaled, [=](Float4 x) { return (x - max) / temperature; });
}

void exponentials(std::span<const float> scaled, std::span<float> weights) {
  map4(scaled, weights, exp4);
}

double sum_of(std::span<const float> weights) {
  double sum = 0;
  for (size_t i = 0; i < weights.size(); i += kStretch) sum += stretch_sum(weights, i);
  return sum;
}

int32_t index_at(std::span<const float> weights, double fraction) {
  const double target = std::max(fraction, kLeastFraction) * sum_of(weights);
  double before = 0;
  for (size_t start = 0; start < weights.size(); start += kStretch) {
    const double stretch = stretch_sum(weights, start);
    if (before + stretch > target) return index_within(weights, start, target - before);
    before += stretch;
  }
  check_failed(__FILE__, __LINE__, "a weight above zero", "nothing to draw from");
}

}  // namespace millrace
