#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/q8.h"
#include "quant/panel.h"
#include "tensor/dtype.h"

// Included by files that are built for one instruction set: nothing here may bring code that the
// linker could share with others (see isa/avx2/simd.h).

namespace millrace {

struct AttentionKernels;  // kernels/attention_kernels.h

// One panel of weights times `columns` (at most kTileRows) rows of activations. Sets out: [columns,
// kPanelRows].
using PanelTimesQ8 = void (*)(const std::byte* panel, int64_t width, const Q8Block* in,
                              int64_t columns, float* out);  // in: [width / 32, columns]
using PanelTimesF32 = void (*)(const std::byte* panel, int64_t width, const float* in,
                               int64_t stride, int64_t columns,
                               float* out);  // in: [columns, width]

// One tier's inner loops. Every one works on one thread's share and knows nothing of lanes.
struct Kernels {
  PanelTimesQ8 (*times_q8)(DType format);  // nullptr: F32, F16, BF16
  PanelTimesF32 (*times_f32)(DType format);
  // out = in / sqrt(mean(in^2) + epsilon) * weight; in, weight, out: [width].
  void (*rms_norm)(const float* in, const float* weight, int64_t width, float epsilon, float* out);
  // Blocks of one row, `stride` blocks apart; width is a multiple of 32. in: [width].
  void (*quantise)(const float* in, int64_t width, Q8Block* out, int64_t stride);
  // out = gate * sigmoid(gate) * up; each [count].
  void (*silu_times)(const float* gate, const float* up, int64_t count, float* out);
  const AttentionKernels* attention;
};

// The tiers, each made in isa/NAME/.
extern const Kernels kScalarKernels;
extern const Kernels kPortable8Kernels;
extern const Kernels kPortable16Kernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;

}  // namespace millrace
