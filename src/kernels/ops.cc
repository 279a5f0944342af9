#include "kernels/ops.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/kernels.h"
#include "kernels/panel_product.h"
#include "kernels/row_groups.h"

namespace millrace::ops {
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
  alignas(64) float sums[kPanelSums];
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
  alignas(64) float gates[2 * kPanelSums] = {};
  alignas(64) float ups[2 * kPanelSums] = {};
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
