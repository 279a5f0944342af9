#include <cmath>

#include "kernels/recurrent/recurrent_kernels.h"

// The reference: plain loops in double, states rounded after each row, never optimised.

namespace millrace {
namespace {

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

double softplus(double x) { return std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }

double activation_of(const ActivationFunction& function, double x) {
  using enum ActivationFunction::Kind;
  const double relu = x < 0 ? 0 : x;
  switch (function.kind) {
    case kSilu:
      return x * logistic(x);
    case kGelu:
      return x * std::erfc(-x / std::sqrt(2.0)) / 2;
    case kGeluTanh:
      return x * logistic(2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
    case kGeluQuick:
      return x * logistic(1.702 * x);
    case kRelu:
      return relu;
    case kReluSquared:
      return relu * relu;
    case kXielu: {
      const double linear = x * function.beta;
      if (x > 0) return function.positive * x * x + linear;
      const double bent = std::expm1(std::fmin(x, function.epsilon)) - x;
      return bent * (double{function.negative} + function.beta) + linear;
    }
    case kClampedSwiglu:
      break;  // of two numbers
  }
  return NAN;
}

double element_of(const ElementFunction& function, double x) {
  using enum ElementFunction::Kind;
  switch (function.kind) {
    case kIdentity:
      return x;
    case kSigmoid:
      return logistic(x);
    case kTanh:
      return std::tanh(x);
    case kEluPlusOne:
      return x > 0 ? x + 1 : std::exp(x);
    case kReciprocal:
      return 1 / x;
    case kOneMinus:
      return 1 - x;
    case kDecay:
      return std::exp(-std::exp(x));
    case kReciprocalRoot:
      return 1 / std::sqrt(x);
    case kActivation:
      return activation_of(function.activation, x);
  }
  return NAN;
}

void conv(const ConvTile& tile) {
  for (int64_t row = 0; row < tile.rows; ++row) {
    for (int i = 0; i < tile.columns; ++i) {
      double sum = tile.bias == nullptr ? 0 : tile.bias[i];
      for (int64_t j = 0; j < tile.kernel; ++j) {
        const int64_t at = row - tile.kernel + 1 + j;
        const double in = at < 0 ? tile.history[(tile.kernel - 1 + at) * kConvColumns + i]
                                 : tile.in[at * tile.in_stride + i];
        sum += tile.weight[j * tile.weight_stride + i] * in;
      }
      tile.out[row * tile.out_stride + i] =
          static_cast<float>(tile.silu ? sum * logistic(sum) : sum);
    }
  }
}

void gate(const ElementFunction& function, const float* in, const float* gates, int64_t count,
          int64_t share, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    const double factor = element_of(function, gates[i]);
    for (int64_t k = i * share; k < (i + 1) * share; ++k) {
      out[k] = static_cast<float>(in == nullptr ? factor : in[k] * factor);
    }
  }
}

void time_steps(const TimeStepRow& row) {
  for (int64_t i = 0; i < row.heads * row.share; ++i) {
    const double bias = row.bias == nullptr ? 0 : row.bias[i];
    const double above = std::fmax(softplus(row.in[i] + bias), row.smallest);
    const double step = std::fmin(above, row.largest);
    if (row.steps != nullptr) row.steps[i] = static_cast<float>(step);
    if (row.decays == nullptr) continue;
    row.decays[i] = static_cast<float>(std::exp(row.rates[i / row.share] * step));
  }
}

enum class Rule { kAdd, kDelta, kReadFirst, kPair };

const float* row_of(const ScanRows& rows, int64_t row) { return rows.data + row * rows.stride; }

// One row and one column of a state.
template <Rule kRule>
double scan_element(const MatrixTile& tile, int64_t row, int column) {
  const float* queries = row_of(tile.queries, row);
  const float* keys = row_of(tile.keys, row);
  const float* decays = row_of(tile.decays, row);
  const double value = row_of(tile.values, row)[column];
  const double strength = tile.strengths.data == nullptr ? 1 : *row_of(tile.strengths, row);
  double held = 0;
  for (int64_t key = 0; key < tile.key_dim; ++key) {
    const double state = tile.state[key * kStateColumns + column];
    const double decay = decays[tile.decays_each_key ? key : 0];
    if (kRule == Rule::kDelta) held += keys[key] * decay * state;
    if (kRule == Rule::kPair) held += row_of(tile.a, row)[key] * state;
  }
  const double added = strength * (kRule == Rule::kDelta ? value - held : value);
  double out = 0;
  for (int64_t key = 0; key < tile.key_dim; ++key) {
    float& state = tile.state[key * kStateColumns + column];
    double change = keys[key] * added;
    if (kRule == Rule::kReadFirst) out += queries[key] * (state + tile.bonus[key] * change);
    if (kRule == Rule::kPair) change += row_of(tile.b, row)[key] * held;
    const double decay = decays[tile.decays_each_key ? key : 0];
    state = static_cast<float>(decay * state + change);
    if (kRule != Rule::kReadFirst) out += queries[key] * double{state};
  }
  return tile.scale * out + tile.skip * value;
}

template <Rule kRule>
void matrix_scan(const MatrixTile& tile) {
  for (int64_t row = 0; row < tile.rows; ++row) {
    for (int i = 0; i < tile.columns; ++i) {
      tile.out[row * tile.out_stride + i] = static_cast<float>(scan_element<kRule>(tile, row, i));
    }
  }
}

void selective_scan(const SelectiveTile& tile) {
  for (int64_t row = 0; row < tile.rows; ++row) {
    for (int i = 0; i < tile.columns; ++i) {
      const double bias = tile.bias == nullptr ? 0 : tile.bias[i];
      const double step = softplus(row_of(tile.steps, row)[i] + bias);
      const double in = row_of(tile.in, row)[i];
      double out = tile.skip == nullptr ? 0 : tile.skip[i] * in;
      for (int64_t n = 0; n < tile.state_dim; ++n) {
        float& state = tile.state[n * kStateColumns + i];
        const double decay = std::exp(step * tile.rates[n * tile.rates_stride + i]);
        state = static_cast<float>(decay * state + step * row_of(tile.b, row)[n] * in);
        out += double{row_of(tile.c, row)[n]} * state;
      }
      tile.out[row * tile.out_stride + i] = static_cast<float>(out);
    }
  }
}

}  // namespace

const RecurrentKernels kScalarRecurrent = {
    .conv = conv,
    .gate = gate,
    .time_steps = time_steps,
    .scan_add = matrix_scan<Rule::kAdd>,
    .scan_delta = matrix_scan<Rule::kDelta>,
    .scan_read_first = matrix_scan<Rule::kReadFirst>,
    .scan_pair = matrix_scan<Rule::kPair>,
    .selective_scan = selective_scan,
};

}  // namespace millrace
