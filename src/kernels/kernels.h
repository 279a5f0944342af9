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

// One panel of weights times `columns` (at most kTileRows) rows of activations. Sets sums:
// [columns, kPanelRows].
using PanelTimesQ8 = void (*)(const std::byte* panel, int64_t width, const Q8Block* in,
                              int64_t columns, float* sums);  // in: [width / 32, columns]
using PanelTimesF32 = void (*)(const std::byte* panel, int64_t width, const float* in,
                               int64_t stride, int64_t columns,
                               float* sums);  // in: [columns, width]

// One tier's inner loops. Every one works on one thread's share and knows nothing of lanes. Rows of
// q8 blocks are `q8_stride` blocks apart from one block to the next; pointers to forms that are not
// wanted are null.
struct Kernels {
  PanelTimesQ8 (*times_q8)(DType format);  // null for F32, F16, BF16
  PanelTimesF32 (*times_f32)(DType format);
  // Panel sums into the first `outputs` columns of out (or added to it), with a bias or null.
  // sums: [columns, kPanelRows]; out: [columns, outputs].
  void (*store_panel)(const float* sums, int64_t columns, int64_t outputs, const float* bias,
                      bool add, float* out, int64_t stride);
  // silu(gate) * up for two panels. gate, up: [2, columns, kPanelRows]; f32: [columns, outputs];
  // q8: [columns].
  void (*swiglu)(const float* gate, const float* up, int64_t columns, int64_t outputs, float* f32,
                 int64_t stride, Q8Block* q8);
  // in / sqrt(mean(in^2) + epsilon) * weight of one row. in, weight, f32: [width].
  void (*rms_norm)(const float* in, const float* weight, int64_t width, float epsilon, float* f32,
                   Q8Block* q8, int64_t q8_stride);
  // One row, a multiple of 32 wide. in: [width].
  void (*quantise)(const float* in, int64_t width, Q8Block* q8, int64_t q8_stride);
  const AttentionKernels* attention;
};

// The tiers, each made in isa/NAME/.
extern const Kernels kScalarKernels;
extern const Kernels kPortable8Kernels;
extern const Kernels kPortable16Kernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;

}  // namespace millrace
