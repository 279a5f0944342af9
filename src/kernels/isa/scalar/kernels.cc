#include "kernels/kernels.h"

#include "kernels/attention_kernels.h"

#include <cmath>

// The reference: plain loops, sums in double, never optimised.

namespace millrace {
namespace {

void rms_norm(const float* in, const float* weight, int64_t width, float epsilon, float* out) {
  double squares = 0;
  for (int64_t i = 0; i < width; ++i) squares += double{in[i]} * in[i];
  const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + epsilon);
  for (int64_t i = 0; i < width; ++i) out[i] = static_cast<float>(in[i] * scale * weight[i]);
}

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
    const int pair = k % 4 / 2;
    out.minus_sums[pair] = static_cast<int16_t>(out.minus_sums[pair] - q);
    if (k < 16) out.minus_low_sums[pair] = static_cast<int16_t>(out.minus_low_sums[pair] - q);
  }
  out.scaled_sum = out.scale * static_cast<float>(sum);
}

void quantise(const float* in, int64_t width, Q8Block* out, int64_t stride) {
  for (int64_t k = 0; k < width; k += kQ8Width) {
    quantise_block(in + k, out[k / kQ8Width * stride]);
  }
}

void silu_times(const float* gate, const float* up, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>(gate[i] / (1 + std::exp(-double{gate[i]})) * up[i]);
  }
}

}  // namespace

const Kernels kScalarKernels = {
    .times_q8 = nullptr,
    .times_f32 = nullptr,
    .rms_norm = rms_norm,
    .quantise = quantise,
    .silu_times = silu_times,
    .attention = &kScalarAttention,
};

}  // namespace millrace
