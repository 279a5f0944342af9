#pragma once

#include <cstdint>
#include <span>

#include <absl/functional/function_ref.h>

#include "exec/float4.h"

namespace millrace {

// Every sum here adds in one fixed order.

float max_of(std::span<const float> values);

// How likely logits are beside the largest: exp((logit - max) / temperature), which is 1 for it and
// zero below 1e-37.
class Weighing {
 public:
  Weighing(float max, float temperature);  // temperature above zero
  Float4 operator()(Float4 logits) const { return exp2_4((logits - max_) * per_logit_); }
  // Whether a logit and all below it have the weight zero.
  bool vanishes(float logit) const { return (logit - max_) * per_logit_ < kLeastExponent; }

 private:
  float max_;
  float per_logit_;  // log2(e) / temperature, a finite number
};

// weights = weighing(logits).
void weigh(std::span<const float> logits, const Weighing& weighing, std::span<float> weights);

// scaled = (logits - max) / temperature.
void scale_logits(std::span<const float> logits, float max, float temperature,
                  std::span<float> scaled);

double sum_of(std::span<const float> weights);

// In nats, of the distribution that weights = exp(scaled) are in proportion to; `total` is their
// sum.
double entropy_of(std::span<const float> scaled, std::span<const float> weights, double total);

// The first index at which the running sum passes `fraction` (in [0, 1), of 53 bits) of the whole
// sum, which is above zero. Its weight is not zero; and what is before it and itself, or itself and
// what follows, is not less of the whole than 53 bits can tell from nothing.
int32_t index_at(std::span<const float> weights, double fraction);

// The same over blocks of `block` weights whose sums are given; weights_of(i) shows those of the
// i-th block.
int32_t index_at(std::span<const double> sums, size_t block, double fraction,
                 absl::FunctionRef<std::span<const float>(size_t)> weights_of);

}  // namespace millrace
