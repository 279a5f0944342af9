#include "kernels/ops.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/kernels.h"
#include "kernels/row_groups.h"

namespace millrace::ops {
namespace {

RowForms forms_of_row(const Activations& out, int64_t row) {
  const RowGroup group = row_group_at(out.rows, row / kGroupRows);
  const int64_t column = row - group.first;
  Q8Block* q8 = q8_of(out, group);
  Q8Block* q16 = q16_of(out, group);
  return {.f32 = f32_of(out, row),
          .bf16 = bf16_of(out, row),
          .q8 = q8 == nullptr ? nullptr : q8 + column,
          .q16 = q16 == nullptr ? nullptr : q16 + column,
          .group_rows = group.rows};
}

// Of a group's first row, from column `first` on, a multiple of 32.
RowForms forms_of_group(const Activations& out, const RowGroup& group, int64_t first) {
  RowForms forms = forms_of_row(out, group.first);
  if (forms.f32 != nullptr) forms.f32 += first;
  if (forms.bf16 != nullptr) forms.bf16 += first;
  if (forms.q8 != nullptr) forms.q8 += first / kQ8Width * group.rows;
  if (forms.q16 != nullptr) forms.q16 += 2 * first / kQ8Width * group.rows;
  return forms;
}

// Panels of one matrix times groups of activations, in the form that the matrix reads.
struct PanelProduct {
  const PackedMatrix& weights;
  const Activations& in;
  PanelTimesQ8 times_q8;
  PanelTimesBf16 times_bf16;
  PanelTimesF32 times_f32;

  // sums: [group.rows, kPanelRows]
  void operator()(int64_t panel, const RowGroup& group, float* sums) const {
    const std::byte* bytes = weights.panel(panel);
    if (times_q8 != nullptr && in.forms.q8) {
      times_q8(bytes, in.width, q8_of(in, group), 1, group.rows, sums);
    } else if (times_q8 != nullptr) {
      times_q8(bytes, in.width, q16_of(in, group), 2, group.rows, sums);
    } else if (times_bf16 != nullptr) {
      times_bf16(bytes, in.width, bf16_of(in, group.first), in.width, group.rows, sums);
    } else {
      times_f32(bytes, in.width, f32_of(in, group.first), in.width, group.rows, sums);
    }
  }
};

PanelProduct product_of(const Kernels& kernels, const PackedMatrix& weights,
                        const Activations& in) {
  CHECK(weights.width() == in.width, "weights of width {} for activations of width {}",
        weights.width(), in.width);
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

constexpr int64_t kSums = kGroupRows * kPanelRows;

}  // namespace

void CpuOps::gather(Lane& lane, Rows<const float> in, std::span<const int32_t> indices,
                    Rows<float> out) const {
  lane.for_each_piece(std::ssize(indices), 1, [&](WorkRange piece) {
    for (int64_t i = piece.begin; i < piece.end; ++i) {
      std::copy_n(in.row(indices[static_cast<size_t>(i)]), in.width, out.row(i));
    }
  });
}

void CpuOps::embed(Lane& lane, const PackedMatrix& table, std::span<const TokenId> tokens,
                   Rows<float> out) const {
  lane.for_each_piece(std::ssize(tokens), 1, [&](WorkRange rows) {
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      table.unpack_row(tokens[static_cast<size_t>(i)], out.row(i));
    }
  });
}

void CpuOps::rms_norm(Lane& lane, Rows<const float> in, std::span<const float> weight,
                      float epsilon, const Activations& out) const {
  lane.for_each_piece(in.rows, 1, [&](WorkRange rows) {
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      kernels_.rms_norm(in.row(i), weight.data(), in.width, epsilon, forms_of_row(out, i));
    }
  });
}

void CpuOps::convert(Lane& lane, Rows<const float> in, const Activations& out) const {
  lane.for_each_piece(in.rows, 1, [&](WorkRange rows) {
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      kernels_.convert(in.row(i), in.width, forms_of_row(out, i));
    }
  });
}

// Row groups outside, so that a group's activations stay in the second level cache while the
// piece's weights stream by.
void CpuOps::linear(Lane& lane, const PackedMatrix& weights, const Activations& in,
                    std::span<const float> bias, Store store, Rows<float> out) const {
  const PanelProduct product = product_of(kernels_, weights, in);
  alignas(64) float sums[kSums];
  lane.for_each_piece(weights.panels(), 1, [&](WorkRange panels) {
    for (int64_t t = 0; t < row_groups_of(in.rows); ++t) {
      const RowGroup group = row_group_at(in.rows, t);
      for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
        product(panel, group, sums);
        const int64_t first = panel * kPanelRows;
        const int64_t outputs = std::min<int64_t>(kPanelRows, weights.rows() - first);
        kernels_.store_panel(sums, group.rows, outputs,
                             bias.empty() ? nullptr : bias.data() + first, store == Store::kAdd,
                             out.row(group.first) + first, out.stride);
      }
    }
  });
}

void CpuOps::gate_up(Lane& lane, const PackedMatrix& gate, const PackedMatrix& up,
                     const Activations& in, const Activations& out) const {
  const PanelProduct gate_product = product_of(kernels_, gate, in);
  const PanelProduct up_product = product_of(kernels_, up, in);
  const int64_t hidden = gate.rows();
  CHECK(up.rows() == hidden && out.width == hidden, "gate of {}, up of {} rows for an output of {}",
        hidden, up.rows(), out.width);
  alignas(64) float gates[2 * kSums] = {};
  alignas(64) float ups[2 * kSums] = {};
  constexpr int64_t kTogether = 2;  // panels that make a block of the q8 form
  lane.for_each_piece(gate.panels(), kTogether, [&](WorkRange panels) {
    for (int64_t t = 0; t < row_groups_of(in.rows); ++t) {
      const RowGroup group = row_group_at(in.rows, t);
      for (int64_t panel = panels.begin; panel < panels.end; panel += kTogether) {
        for (int64_t i = 0; i < std::min(kTogether, panels.end - panel); ++i) {
          gate_product(panel + i, group, gates + i * group.rows * kPanelRows);
          up_product(panel + i, group, ups + i * group.rows * kPanelRows);
        }
        const int64_t first = panel * kPanelRows;
        const int64_t outputs = std::min<int64_t>(kTogether * kPanelRows, hidden - first);
        kernels_.swiglu(gates, ups, group.rows, outputs, forms_of_group(out, group, first),
                        out.width);
      }
    }
  });
}

}  // namespace millrace::ops
