#pragma once

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "kernels/activations.h"
#include "kernels/kernels.h"
#include "kernels/row_groups.h"
#include "quant/packed_matrix.h"
#include "tensor/dtype.h"

namespace millrace::ops {

// Floats that one panel's product with a row group takes at most.
inline constexpr int64_t kPanelSums = kGroupRows * kPanelRows;

// Panels of one matrix times groups of activations, or neighbouring columns of them, in the form
// that the matrix reads.
struct PanelProduct {
  const PackedMatrix& weights;
  const Activations& in;
  PanelTimesQ8 times_q8;
  PanelTimesBf16 times_bf16;
  PanelTimesF32 times_f32;

  // first: of the columns, as forms_of_group() has it. sums: [group.rows, kPanelRows]
  void operator()(int64_t panel, const RowGroup& group, float* sums, int64_t first = 0) const {
    const std::byte* bytes = weights.panel(panel);
    const int64_t width = weights.width();
    const RowForms from = forms_of_group(in, group, first);
    if (times_q8 != nullptr && in.forms.q8) {
      times_q8(bytes, width, from.q8, 1, group.rows, sums);
    } else if (times_q8 != nullptr) {
      times_q8(bytes, width, from.q16, 2, group.rows, sums);
    } else if (times_bf16 != nullptr) {
      times_bf16(bytes, width, from.bf16, in.width, group.rows, sums);
    } else {
      times_f32(bytes, width, from.f32, in.width, group.rows, sums);
    }
  }
};

// Of some of the columns.
inline PanelProduct part_product_of(const Kernels& kernels, const PackedMatrix& weights,
                                    const Activations& in) {
  const DType format = weights.format();
  const bool q8 = (in.forms.q8 || in.forms.q16) && is_quantised(format);
  const bool bf16 = in.forms.bf16 && format == DType::kBF16 && kernels.times_bf16 != nullptr;
  CHECK(q8 || bf16 || in.forms.f32, "activations lack the form that {} weights read",
        info_of(format).name);
  return {.weights = weights,
          .in = in,
          .times_q8 = q8 ? kernels.times_q8(format) : nullptr,
          .times_bf16 = bf16 ? kernels.times_bf16 : nullptr,
          .times_f32 = q8 || bf16 ? nullptr : kernels.times_f32(format)};
}

// Of all columns.
inline PanelProduct product_of(const Kernels& kernels, const PackedMatrix& weights,
                               const Activations& in) {
  CHECK(weights.width() == in.width, "weights of width {} for activations of width {}",
        weights.width(), in.width);
  return part_product_of(kernels, weights, in);
}

}  // namespace millrace::ops
