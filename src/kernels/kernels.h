#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/q8.h"
#include "kernels/recurrent/rwkv_kernels.h"
#include "kernels/row_ops.h"
#include "quant/panel.h"
#include "tensor/dtype.h"

// Included by files that are built for one instruction set: nothing here may bring code that the
// linker could share with others (see isa/avx2/simd.h).

namespace millrace {

struct AttentionKernels;  // kernels/attention_kernels.h
struct RecurrentKernels;  // kernels/recurrent/recurrent_kernels.h

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

// A norm of a row (kernels/row_ops.h).
struct RowNorm {
  const float* weight = nullptr;  // [width]; null: all 1
  const float* bias = nullptr;    // [width]; null: none
  float epsilon = 0;
  bool centred = false;  // LayerNorm
};

// Products with the matrices of a hidden layer, of two panels. The biases are added to them there.
struct HiddenSums {
  float* gate = nullptr;             // [2, columns, kPanelRows]; null: none
  float* up = nullptr;               // [2, columns, kPanelRows]
  const float* gate_bias = nullptr;  // [outputs]; null: none
  const float* up_bias = nullptr;    // [outputs]; null: none
};

// Loops of nothing but the instructions that bound a tier's products, in the proportions and with
// the independent sums that these have, to measure what the CPU can do at most. Each returns how
// many operations it did; a multiply-add is two.
struct ProbeLoops {
  int64_t (*int8)(int64_t rounds);         // codes of 4 and 5 bits by 8 bits
  int64_t (*int8_halves)(int64_t rounds);  // codes of 6 bits, whose sums end after 16 neighbours
  int64_t (*int8_signed)(int64_t rounds);  // codes of 8 bits
  int64_t (*bf16)(int64_t rounds);         // null where Kernels::times_bf16 is
  int64_t (*f32)(int64_t rounds);
  // Reads a stretch of memory once, ascending, asking for it ahead as the products do.
  void (*read)(const std::byte* data, int64_t bytes);
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
  // The hidden layer's outputs of two panels. out: the first column's `outputs` elements, the next
  // ones' `stride` further (q8, q16: the next block).
  void (*hidden)(const ActivationFunction& function, const HiddenSums& sums, int64_t columns,
                 int64_t outputs, const RowForms& out, int64_t stride);
  // One row's norm. in: [width]; out.f32 may be `in`.
  void (*norm)(const float* in, const RowNorm& norm, int64_t width, const RowForms& out);
  // out += scale * norm(in), or scale * in where `norm` is null. in, out: [width].
  void (*add)(const float* in, const RowNorm* norm, int64_t width, float scale, float* out);
  // row *= factor, then, with a softcap above 0, row = softcap * tanh(row / softcap). row: [width].
  void (*scale)(float* row, int64_t width, float factor, float softcap);
  // row = max(0, row - (mean + deviations * standard deviation)). row: [width].
  void (*keep_largest)(float* row, int64_t width, float deviations);
  // row *= rms(like) / sqrt(max(least, mean square of row)). like, row: [width].
  void (*match_magnitude)(const float* like, int64_t width, float least, float* row);
  // One row into its forms. in: [width].
  void (*convert)(const float* in, int64_t width, const RowForms& out);
  const AttentionKernels* attention;
  const RwkvKernels* rwkv;
  const RecurrentKernels* recurrent;
  ProbeLoops probes;
};

// The tiers, each made in isa/NAME/.
extern const Kernels kScalarKernels;
extern const Kernels kPortable8Kernels;
extern const Kernels kPortable16Kernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
// What a CPU with AVX-512 BF16 has besides.
extern const PanelTimesBf16 kAvx512TimesBf16;
extern int64_t (*const kAvx512ProbeBf16)(int64_t rounds);

}  // namespace millrace
