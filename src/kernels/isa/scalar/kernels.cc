#include "kernels/kernels.h"

#include <cmath>
#include <cstring>

#include "kernels/attention_kernels.h"
#include "kernels/recurrent/recurrent_kernels.h"
#include "quant/formats.h"

// The reference: plain loops, sums in double, never optimised.

namespace millrace {
namespace {

void quantise_block(const float* in, Q8Block& out) {
  float top = 0;
  bool finite = true;
  for (int k = 0; k < kQ8Width; ++k) {
    finite = finite && std::isfinite(in[k]);
    top = std::fmax(top, std::fabs(in[k]));
  }
  const bool usable = finite && top >= 1e-36F;
  out = {};
  out.scale = usable ? top / 127.0F : finite ? 0.0F : NAN;
  int sum = 0;
  for (int k = 0; k < kQ8Width; ++k) {
    const int q = usable ? static_cast<int>(std::nearbyint(in[k] * (127.0F / top))) : 0;
    out.q[k] = static_cast<int8_t>(q);
    sum += q;
    (k < 16 ? out.minus_low_sum : out.minus_high_sum) -= q;
  }
  out.minus_sum = -sum;
  out.scaled_sum = out.scale * static_cast<float>(sum);
}

// Block `block` of a row that is `column` rows behind the one that `out` says.
void put_block(const float* in, const RowForms& out, int64_t block, int64_t column = 0) {
  if (out.q8 != nullptr) quantise_block(in, out.q8[block * out.group_rows + column]);
  if (out.q16 == nullptr) return;
  Q8Block& first = out.q16[2 * block * out.group_rows + column];
  quantise_block(in, first);
  float left[kQ8Width];
  for (int k = 0; k < kQ8Width; ++k) {
    const auto q = static_cast<float>(first.q[k]);
    left[k] = std::fma(-first.scale, q, in[k]);
  }
  quantise_block(left, (&first)[out.group_rows]);
}

void convert(const float* in, int64_t width, const RowForms& out) {
  for (int64_t k = 0; k < width; ++k) {
    if (out.f32 != nullptr) out.f32[k] = in[k];
    if (out.bf16 != nullptr) out.bf16[k] = bf16_of_f32(in[k]);
    if (k % kQ8Width == 0) put_block(in + k, out, k / kQ8Width);
  }
}

// One row's elements after its norm.
class ScalarNorm {
 public:
  ScalarNorm(const float* in, const RowNorm& norm, int64_t width) : in_(in), norm_(norm) {
    const auto count = static_cast<double>(width);
    for (int64_t i = 0; norm.centred && i < width; ++i) mean_ += in[i] / count;
    double squares = 0;
    for (int64_t i = 0; i < width; ++i) squares += (in[i] - mean_) * (in[i] - mean_);
    scale_ = 1 / std::sqrt(squares / count + norm.epsilon);
  }
  double operator[](int64_t i) const {
    const double weight = norm_.weight == nullptr ? 1 : norm_.weight[i];
    const double bias = norm_.bias == nullptr ? 0 : norm_.bias[i];
    return (in_[i] - mean_) * scale_ * weight + bias;
  }

 private:
  const float* in_;
  const RowNorm& norm_;
  double mean_ = 0;
  double scale_ = 0;
};

void norm(const float* in, const RowNorm& norm, int64_t width, const RowForms& out) {
  const ScalarNorm normed(in, norm, width);
  float block[kQ8Width];
  for (int64_t i = 0; i < width; ++i) {
    const auto value = static_cast<float>(normed[i]);
    if (out.f32 != nullptr) out.f32[i] = value;
    if (out.bf16 != nullptr) out.bf16[i] = bf16_of_f32(value);
    block[i % kQ8Width] = value;
    if (i % kQ8Width == kQ8Width - 1) put_block(block, out, i / kQ8Width);
  }
}

void add(const float* in, const RowNorm* norm, int64_t width, float scale, float* out) {
  if (norm == nullptr) {
    for (int64_t i = 0; i < width; ++i) out[i] = std::fma(scale, in[i], out[i]);
    return;
  }
  const ScalarNorm normed(in, *norm, width);
  for (int64_t i = 0; i < width; ++i) {
    out[i] = static_cast<float>(out[i] + scale * normed[i]);
  }
}

void scale(float* row, int64_t width, float factor, float softcap) {
  for (int64_t i = 0; i < width; ++i) {
    const double x = double{row[i]} * factor;
    row[i] = static_cast<float>(softcap > 0 ? softcap * std::tanh(x / softcap) : x);
  }
}

double mean_square_of(const float* row, int64_t width, double mean) {
  double squares = 0;
  for (int64_t i = 0; i < width; ++i) squares += (row[i] - mean) * (row[i] - mean);
  return squares / static_cast<double>(width);
}

void keep_largest(float* row, int64_t width, float deviations) {
  double mean = 0;
  for (int64_t i = 0; i < width; ++i) mean += row[i] / static_cast<double>(width);
  const double cutoff = mean + deviations * std::sqrt(mean_square_of(row, width, mean));
  for (int64_t i = 0; i < width; ++i) {
    const double above = row[i] - cutoff;
    row[i] = static_cast<float>(above < 0 ? 0 : above);
  }
}

void match_magnitude(const float* like, int64_t width, float least, float* row) {
  const double own = mean_square_of(row, width, 0);
  const double factor =
      std::sqrt(mean_square_of(like, width, 0)) / std::sqrt(own < least ? least : own);
  for (int64_t i = 0; i < width; ++i) row[i] = static_cast<float>(row[i] * factor);
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double xielu(const ActivationFunction& function, double x) {
  const double linear = x * function.beta;
  if (x > 0) return function.positive * x * x + linear;
  const double bent = std::expm1(std::fmin(x, function.epsilon)) - x;
  return bent * (double{function.negative} + function.beta) + linear;
}

double activated(const ActivationFunction& function, double x) {
  const double relu = x < 0 ? 0 : x;
  switch (function.kind) {
    case ActivationFunction::Kind::kSilu:
      return x * sigmoid(x);
    case ActivationFunction::Kind::kGelu:
      return x * std::erfc(-x / std::sqrt(2.0)) / 2;
    case ActivationFunction::Kind::kGeluTanh:
      return x * sigmoid(2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
    case ActivationFunction::Kind::kGeluQuick:
      return x * sigmoid(1.702 * x);
    case ActivationFunction::Kind::kRelu:
      return relu;
    case ActivationFunction::Kind::kReluSquared:
      return relu * relu;
    case ActivationFunction::Kind::kXielu:
      return xielu(function, x);
    case ActivationFunction::Kind::kClampedSwiglu:
      break;  // of two numbers
  }
  return NAN;
}

double clamped_swiglu(const ActivationFunction& function, double gate, double up) {
  const double limit = function.limit;
  const double g = gate > limit ? limit : gate;
  const double u = up > limit ? limit : up < -limit ? -limit : up;
  return g * sigmoid(function.alpha * g) * (u + 1);
}

double hidden_of(const ActivationFunction& function, const HiddenSums& sums, int64_t at,
                 int64_t output, int64_t outputs) {
  const auto value_of = [&](const float* matrix, const float* bias) {
    return bias != nullptr && output < outputs ? matrix[at] + bias[output] : matrix[at];
  };
  const float up = value_of(sums.up, sums.up_bias);
  if (sums.gate == nullptr) return activated(function, up);
  const float gate = value_of(sums.gate, sums.gate_bias);
  if (function.kind == ActivationFunction::Kind::kClampedSwiglu) {
    return clamped_swiglu(function, gate, up);
  }
  return activated(function, gate) * up;
}

void hidden(const ActivationFunction& function, const HiddenSums& sums, int64_t columns,
            int64_t outputs, const RowForms& out, int64_t stride) {
  for (int64_t c = 0; c < columns; ++c) {
    float row[2 * kPanelRows];
    for (int64_t i = 0; i < 2 * kPanelRows; ++i) {
      const int64_t at = (i / kPanelRows * columns + c) * kPanelRows + i % kPanelRows;
      row[i] = static_cast<float>(hidden_of(function, sums, at, i, outputs));
      if (out.f32 != nullptr && i < outputs) out.f32[c * stride + i] = row[i];
      if (out.bf16 != nullptr && i < outputs) out.bf16[c * stride + i] = bf16_of_f32(row[i]);
    }
    put_block(row, out, 0, c);
  }
}

void store_panel(const float* sums, int64_t columns, int64_t outputs, const float* bias, bool add,
                 float* out, int64_t stride) {
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t i = 0; i < outputs; ++i) {
      float value = sums[c * kPanelRows + i];
      if (bias != nullptr) value += bias[i];
      if (add) value += out[c * stride + i];
      out[c * stride + i] = value;
    }
  }
}

// Sums of products in double; activation(k, column) says what stands there.
template <typename Panel, int kElements, typename Activation>
void times(const std::byte* bytes, int64_t width, int64_t columns, Activation activation,
           float* sums) {
  const auto* panels = reinterpret_cast<const Panel*>(bytes);
  for (int row = 0; row < kPanelRows; ++row) {
    double totals[kGroupRows] = {};
    for (int64_t first = 0; first < width; first += kElements) {
      float weights[kElements];
      get(panels[first / kElements], row, weights);
      for (int64_t c = 0; c < columns; ++c) {
        for (int k = 0; k < kElements; ++k) totals[c] += weights[k] * activation(first + k, c);
      }
    }
    for (int64_t c = 0; c < columns; ++c) {
      sums[c * kPanelRows + row] = static_cast<float>(totals[c]);
    }
  }
}

template <typename Panel, int kElements>
void times_q8(const std::byte* panel, int64_t width, const Q8Block* in, int parts, int64_t columns,
              float* sums) {
  const auto activation = [&](int64_t k, int64_t c) {
    double sum = 0;
    for (int part = 0; part < parts; ++part) {
      const Q8Block& block = in[(k / kQ8Width * parts + part) * columns + c];
      sum += double{block.scale} * block.q[k % kQ8Width];
    }
    return sum;
  };
  times<Panel, kElements>(panel, width, columns, activation, sums);
}

template <typename Panel, int kElements>
void times_f32(const std::byte* panel, int64_t width, const float* in, int64_t stride,
               int64_t columns, float* sums) {
  const auto activation = [&](int64_t k, int64_t c) { return double{in[c * stride + k]}; };
  times<Panel, kElements>(panel, width, columns, activation, sums);
}

void times_bf16(const std::byte* panel, int64_t width, const uint16_t* in, int64_t stride,
                int64_t columns, float* sums) {
  const auto activation = [&](int64_t k, int64_t c) {
    return double{f32_of_bf16(in[c * stride + k])};
  };
  times<PanelBF16, 1>(panel, width, columns, activation, sums);
}

PanelTimesQ8 times_q8_of(DType format) {
  switch (format) {
#define DTYPE(name, elements, bytes, gguf) \
  case DType::k##name:                     \
    return elements == 1 ? nullptr : times_q8<Panel##name, elements>;
#include "tensor/dtypes.def"
#undef DTYPE
  }
  return nullptr;
}

PanelTimesF32 times_f32_of(DType format) {
  switch (format) {
#define DTYPE(name, elements, bytes, gguf) \
  case DType::k##name:                     \
    return times_f32<Panel##name, elements>;
#include "tensor/dtypes.def"
#undef DTYPE
  }
  return nullptr;
}

// All products of this tier go in double.
int64_t probe(int64_t rounds) {
  double sum = 0;
  double factor = 0.5;
  asm volatile("" : "+m"(factor));
  for (int64_t i = 0; i < rounds; ++i) sum += sum * factor;
  asm volatile("" : : "m"(sum));
  return 2 * rounds;
}

void probe_read(const std::byte* data, int64_t bytes) {
  uint64_t all = 0;
  for (int64_t i = 0; i + 8 <= bytes; i += 8) {
    uint64_t word;
    std::memcpy(&word, data + i, sizeof word);
    all |= word;
  }
  asm volatile("" : : "m"(all));
}

}  // namespace

const Kernels kScalarKernels = {
    .times_q8 = times_q8_of,
    .times_f32 = times_f32_of,
    .times_bf16 = times_bf16,
    .store_panel = store_panel,
    .hidden = hidden,
    .norm = norm,
    .add = add,
    .scale = scale,
    .keep_largest = keep_largest,
    .match_magnitude = match_magnitude,
    .convert = convert,
    .attention = &kScalarAttention,
    .rwkv = &kScalarRwkv,
    .recurrent = &kScalarRecurrent,
    .probes = {.int8 = probe,
               .int8_halves = probe,
               .int8_signed = probe,
               .bf16 = probe,
               .f32 = probe,
               .read = probe_read},
};

}  // namespace millrace
