#pragma once

#include <cstdint>
#include <span>

namespace millrace {

// What one look at a row of logits tells.
struct LogitScan {
  float max = 0;
  int32_t argmax = 0;   // the lowest index that has it
  bool numbers = true;  // false: a NaN or plus infinity is among them
};
LogitScan scan_logits(std::span<const float> logits);

float max_of(std::span<const float> values);

// Sums over a row x with maximum `max`; minus infinity counts as probability zero. Every sum adds
// in one fixed order.
struct SoftmaxSums {
  double weight = 0;    // sum of exp(x - max)
  double weighted = 0;  // sum of exp(x - max) * (x - max)

  double log_weight() const;
  // In nats: log(weight) - weighted / weight.
  double entropy() const;
};
SoftmaxSums softmax_sums(std::span<const float> logits, float max);

// scaled = (logits - max) / temperature. `scaled` may be `logits`.
void scale_logits(std::span<const float> logits, float max, float temperature,
                  std::span<float> scaled);

// weights = exp(scaled), which are at most 0.
void exponentials(std::span<const float> scaled, std::span<float> weights);

double sum_of(std::span<const float> weights);

// The first index at which the running sum passes `fraction` (in [0, 1), of 53 bits) of the whole
// sum, which is above zero. Its weight is not zero; and what is before it and itself, or itself and
// what follows, is not less of the whole than 53 bits can tell from nothing.
int32_t index_at(std::span<const float> weights, double fraction);

}  // namespace millrace
