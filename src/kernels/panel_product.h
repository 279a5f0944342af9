#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "kernels/activations.h"
#include "kernels/kernels.h"
#include "kernels/row_groups.h"
#include "kernels/row_ops.h"
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
  PanelTimesQ8K times_q8_k;
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
    } else if (times_q8_k != nullptr && in.forms.q8_k) {
      times_q8_k(bytes, width, from.q8_k, 1, group.rows, sums);
    } else if (times_q8_k != nullptr) {
      times_q8_k(bytes, width, from.q16_k, 2, group.rows, sums);
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
  const PanelTimesQ8 times_q8 = kernels.times_q8(format);
  const PanelTimesQ8K times_q8_k = kernels.times_q8_k(format);
  const bool q8 = times_q8 != nullptr && (in.forms.q8 || in.forms.q16);
  const bool q8_k = times_q8_k != nullptr && (in.forms.q8_k || in.forms.q16_k);
  const bool bf16 = in.forms.bf16 && format == DType::kBF16 && kernels.times_bf16 != nullptr;
  CHECK(q8 || q8_k || bf16 || in.forms.f32, "activations lack the form that {} weights read",
        info_of(format).name);
  return {.weights = weights,
          .in = in,
          .times_q8 = q8 ? times_q8 : nullptr,
          .times_q8_k = q8_k ? times_q8_k : nullptr,
          .times_bf16 = bf16 ? kernels.times_bf16 : nullptr,
          .times_f32 = q8 || q8_k || bf16 ? nullptr : kernels.times_f32(format)};
}

// Of all columns.
inline PanelProduct product_of(const Kernels& kernels, const PackedMatrix& weights,
                               const Activations& in) {
  CHECK(weights.width() == in.width, "weights of width {} for activations of width {}",
        weights.width(), in.width);
  return part_product_of(kernels, weights, in);
}

// Panels that a hidden layer's function takes together: they make a block of 32.
inline constexpr int64_t kHiddenPanels = 2;

// Makes a hidden layer's outputs of its products, in every form.
class HiddenStore {
 public:
  HiddenStore(const Kernels& kernels, const ActivationFunction& function, const Activations& out)
      : kernels_(kernels), function_(function), out_(out) {}

  // Panels that one lane has to bring, ascending, each group of rows by itself.
  int64_t together() const { return std::max(kHiddenPanels, out_.forms.stretch() / kPanelRows); }

  // sums: of kHiddenPanels panels, or fewer at the end, from `panel` on.
  void operator()(const HiddenSums& sums, const RowGroup& group, int64_t panel) {
    const int64_t first = panel * kPanelRows;
    const int64_t outputs = std::min(kHiddenPanels * kPanelRows, out_.width - first);
    if (out_.forms.stretch() < kWidth) {
      kernels_.hidden(function_, sums, group.rows, outputs, forms_of_group(out_, group, first),
                      out_.width);
      return;
    }
    const int64_t at = first % kWidth;
    kernels_.hidden(function_, sums, group.rows, outputs, {.f32 = values_ + at}, kWidth);
    if (at + outputs < kWidth) return;
    for (int64_t c = 0; c < group.rows; ++c) {
      kernels_.convert(values_ + c * kWidth, kWidth, forms_of_stretch(out_, group, c, first - at));
    }
  }

 private:
  static constexpr int64_t kWidth = kQ8KWidth;

  const Kernels& kernels_;
  const ActivationFunction& function_;
  const Activations& out_;
  alignas(64) float values_[kGroupRows * kWidth];  // [rows of the group, kWidth]
};

}  // namespace millrace::ops
