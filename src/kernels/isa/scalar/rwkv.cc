#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"
#include "kernels/recurrent/rwkv_kernels.h"

// The reference of RWKV and of the RG-LRU, in double but for the states.

namespace millrace {
namespace {

void mix(const float* base, const float* other, const float* weights, const float* added,
         int64_t count, const RowForms& out) {
  float stretch[kQ8KWidth] = {};
  for (int64_t first = 0; first < count; first += kQ8KWidth) {
    const int64_t n = std::min<int64_t>(kQ8KWidth, count - first);
    for (int64_t k = 0; k < n; ++k) {
      const int64_t i = first + k;
      const double weight = double{weights[i]} + (added == nullptr ? 0 : added[i]);
      stretch[k] = static_cast<float>(base[i] + (double{other[i]} - base[i]) * weight);
    }
    RowForms to = out;
    if (to.f32 != nullptr) to.f32 += first;
    if (to.bf16 != nullptr) to.bf16 += first;
    if (to.q8 != nullptr) to.q8 += first / kQ8Width * out.group_rows;
    if (to.q16 != nullptr) to.q16 += 2 * first / kQ8Width * out.group_rows;
    if (to.q8_k != nullptr) to.q8_k += first / kQ8KWidth * out.group_rows;
    if (to.q16_k != nullptr) to.q16_k += 2 * first / kQ8KWidth * out.group_rows;
    kScalarKernels.convert(stretch, n, to);
  }
}

void wkv4(const Wkv4Rows& rows) {
  for (int64_t i = 0; i < rows.count; ++i) {
    double numerator = rows.numerators[i];
    double denominator = rows.denominators[i];
    double exponent = rows.exponents[i];
    for (int64_t row = 0; row < rows.rows; ++row) {
      const double key = rows.keys.data[row * rows.keys.stride + i];
      const double value = rows.values.data[row * rows.values.stride + i];
      const double top = std::fmax(exponent, key + rows.bonus[i]);
      const double past = std::exp(exponent - top);
      const double own = std::exp(key + rows.bonus[i] - top);
      rows.out.data[row * rows.out.stride + i] =
          static_cast<float>((past * numerator + own * value) / (past * denominator + own));
      const double next = std::fmax(exponent - rows.decay[i], key);
      const double kept = std::exp(exponent - rows.decay[i] - next);
      const double added = std::exp(key - next);
      numerator = kept * numerator + added * value;
      denominator = kept * denominator + added;
      exponent = next;
      // What a row leaves behind is rounded, wherever the sequence is cut.
      numerator = static_cast<float>(numerator);
      denominator = static_cast<float>(denominator);
      exponent = static_cast<float>(exponent);
    }
    rows.numerators[i] = static_cast<float>(numerator);
    rows.denominators[i] = static_cast<float>(denominator);
    rows.exponents[i] = static_cast<float>(exponent);
  }
}

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

void rg_lru(const RgLruRows& rows) {
  for (int64_t i = 0; i < rows.count; ++i) {
    for (int64_t row = 0; row < rows.rows; ++row) {
      const auto load = [&](const Channels<const float>& from) {
        return double{from.data[row * from.stride + i]};
      };
      const double recurrence = sigmoid_of(load(rows.recurrence_gates) + rows.recurrence_bias[i]);
      const double input = sigmoid_of(load(rows.input_gates) + rows.input_bias[i]);
      const double exponent = -rows.decay[i] * recurrence;
      const double kept = std::sqrt(-std::expm1(2 * exponent));
      const double gated = load(rows.in) * input * (rows.begins && row == 0 ? 1 : kept);
      rows.state[i] = static_cast<float>(std::exp(exponent) * rows.state[i] + gated);
      rows.out.data[row * rows.out.stride + i] = rows.state[i];
    }
  }
}

void delta_head(const DeltaHead& head) {
  double squares = 0;
  for (int64_t i = 0; i < head.count; ++i) {
    const double x = double{head.keys[i]} * head.removal_scale[i];
    squares += x * x;
  }
  const double length = std::fmax(std::sqrt(squares), 1e-12);
  for (int64_t i = 0; i < head.count; ++i) {
    const double unit = double{head.keys[i]} * head.removal_scale[i] / length;
    const double rate = sigmoid_of(head.rates[i]);
    const double decay = std::exp(-std::exp(-0.5) * sigmoid_of(head.decays[i]));
    head.keys[i] = static_cast<float>(head.keys[i] * (1 + (rate - 1) * head.key_mix[i]));
    head.decays[i] = static_cast<float>(decay);
    head.removals[i] = static_cast<float>(-unit);
    head.rates[i] = static_cast<float>(unit * rate);
    if (head.values == nullptr) continue;
    const double first = double{head.first_values[i]} - head.values[i];
    head.values[i] = static_cast<float>(head.values[i] + first * sigmoid_of(head.value_shares[i]));
  }
}

void add_bonus(const float* weights, const float* queries, const float* keys, const float* values,
               int64_t count, float* out) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += double{weights[i]} * queries[i] * keys[i];
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(out[i] + sum * values[i]);
}

}  // namespace

const RwkvKernels kScalarRwkv = {
    .mix = mix, .wkv4 = wkv4, .rg_lru = rg_lru, .delta_head = delta_head, .add_bonus = add_bonus};

}  // namespace millrace
