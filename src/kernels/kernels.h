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

// One panel of weights times `columns` (at most kGroupRows) rows of activations. Sets sums:
// [columns, kPanelRows]. parts: 1 for q8, 2 for q16.
using PanelTimesQ8 = void (*)(const std::byte* panel, int64_t width, const Q8Block* in, int parts,
                              int64_t columns, float* sums);  // in: [width / 32, parts, columns]
using PanelTimesF32 = void (*)(const std::byte* panel, int64_t width, const float* in,
                               int64_t stride, int64_t columns,
                               float* sums);  // in: [columns, width]
// BF16 panels only.
using PanelTimesBf16 = void (*)(const std::byte* panel, int64_t width, const uint16_t* in,
                                int64_t stride, int64_t columns,
                                float* sums);  // in: [columns, width]

// Where one row of activations goes in each form; null: not wanted. Blocks lie as the row's group
// of `group_rows` rows has them (kernels/row_groups.h).
struct RowForms {
  float* f32 = nullptr;
  uint16_t* bf16 = nullptr;
  Q8Block* q8 = nullptr;
  Q8Block* q16 = nullptr;
  int64_t group_rows = 0;
};

// One tier's inner loops. Every one works on one thread's share and knows nothing of lanes.
struct Kernels {
  PanelTimesQ8 (*times_q8)(DType format);  // null for F32, F16, BF16
  PanelTimesF32 (*times_f32)(DType format);
  PanelTimesBf16 times_bf16;  // null where the tier has no products of bfloat16
  // Panel sums into the first `outputs` columns of out (or added to it), with a bias or null.
  // sums: [columns, kPanelRows]; out: [columns, outputs].
  void (*store_panel)(const float* sums, int64_t columns, int64_t outputs, const float* bias,
                      bool add, float* out, int64_t stride);
  // silu(gate) * up for two panels. gate, up: [2, columns, kPanelRows]; out: the first column's
  // `outputs` elements, the next ones' `stride` further (q8, q16: the next block).
  void (*swiglu)(const float* gate, const float* up, int64_t columns, int64_t outputs,
                 const RowForms& out, int64_t stride);
  // in / sqrt(mean(in^2) + epsilon) * weight of one row. in, weight: [width].
  void (*rms_norm)(const float* in, const float* weight, int64_t width, float epsilon,
                   const RowForms& out);
  // One row into its forms. in: [width].
  void (*convert)(const float* in, int64_t width, const RowForms& out);
  const AttentionKernels* attention;
};

// The tiers, each made in isa/NAME/.
extern const Kernels kScalarKernels;
extern const Kernels kPortable8Kernels;
extern const Kernels kPortable16Kernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const PanelTimesBf16 kAvx512TimesBf16;  // what a CPU with AVX-512 BF16 has besides

}  // namespace millrace
