#include "kernels/ops.h"

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "kernels/kernels.h"
#include "kernels/panel_product.h"
#include "kernels/row_groups.h"

namespace millrace::ops {
namespace {

void check_norm(const Norm& norm, int64_t width) {
  CHECK(norm.weight.empty() || std::ssize(norm.weight) == width, "a norm's weight of {} for {}",
        norm.weight.size(), width);
  CHECK(norm.bias.empty() || std::ssize(norm.bias) == width, "a norm's bias of {} for {}",
        norm.bias.size(), width);
}

// A hidden layer's matrices times the activations, and its biases.
class HiddenProducts {
 public:
  HiddenProducts(const Kernels& kernels, const Hidden& hidden, const Activations& in)
      : hidden_(hidden), up_(product_of(kernels, *hidden.up, in)) {
    if (hidden.gate != nullptr) gate_.emplace(product_of(kernels, *hidden.gate, in));
  }

  // Of two panels, the second only where there is one.
  HiddenSums operator()(int64_t panel, int64_t panels, const RowGroup& group) {
    for (int64_t i = 0; i < panels; ++i) {
      const int64_t first = i * group.rows * kPanelRows;
      if (gate_) (*gate_)(panel + i, group, gates_ + first);
      up_(panel + i, group, ups_ + first);
    }
    const int64_t first = panel * kPanelRows;
    return {.gate = gate_ ? gates_ : nullptr,
            .up = ups_,
            .gate_bias = hidden_.gate_bias.empty() ? nullptr : hidden_.gate_bias.data() + first,
            .up_bias = hidden_.up_bias.empty() ? nullptr : hidden_.up_bias.data() + first};
  }

 private:
  const Hidden& hidden_;
  std::optional<PanelProduct> gate_;
  PanelProduct up_;
  alignas(64) float gates_[2 * kPanelSums] = {};
  alignas(64) float ups_[2 * kPanelSums] = {};
};

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

// In stretches that are whole blocks of every format.
void CpuOps::add_rows(Lane& lane, const PackedMatrix& table, std::span<const int32_t> indices,
                      Rows<float> out) const {
  constexpr int64_t kStretch = 256;
  lane.for_each_piece(std::ssize(indices), 1, [&](WorkRange rows) {
    alignas(64) float values[kStretch];
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      for (int64_t first = 0; first < table.width(); first += kStretch) {
        const int64_t count = std::min(kStretch, table.width() - first);
        table.unpack(indices[static_cast<size_t>(i)], first, count, values);
        kernels_.add(values, nullptr, count, 1, out.row(i) + first);
      }
    }
  });
}

// Logits are few rows that are long, so that pieces are parts of rows.
void CpuOps::scale(Lane& lane, Rows<float> rows, float factor, float softcap) const {
  constexpr int64_t kPart = 4096;
  const int64_t parts = (rows.width + kPart - 1) / kPart;
  lane.for_each_piece(rows.rows * parts, 1, [&](WorkRange piece) {
    for (int64_t i = piece.begin; i < piece.end; ++i) {
      const int64_t first = i % parts * kPart;
      kernels_.scale(rows.row(i / parts) + first, std::min(kPart, rows.width - first), factor,
                     softcap);
    }
  });
}

void CpuOps::norm(Lane& lane, Rows<const float> in, const Norm& norm,
                  const Activations& out) const {
  check_norm(norm, in.width);
  lane.for_each_piece(in.rows, 1, [&](WorkRange rows) {
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      kernels_.norm(in.row(i), row_norm_of(norm), in.width, forms_of_row(out, i));
    }
  });
}

void CpuOps::norm_in_place(Lane& lane, Rows<float> rows, const Norm& norm) const {
  check_norm(norm, rows.width);
  lane.for_each_piece(rows.rows, 1, [&](WorkRange piece) {
    for (int64_t i = piece.begin; i < piece.end; ++i) {
      kernels_.norm(rows.row(i), row_norm_of(norm), rows.width, {.f32 = rows.row(i)});
    }
  });
}

void CpuOps::add(Lane& lane, Rows<const float> in, const Norm* post_norm, float scale,
                 Rows<float> out) const {
  RowNorm norm;
  if (post_norm != nullptr) {
    check_norm(*post_norm, in.width);
    norm = row_norm_of(*post_norm);
  }
  lane.for_each_piece(in.rows, 1, [&](WorkRange rows) {
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      kernels_.add(in.row(i), post_norm == nullptr ? nullptr : &norm, in.width, scale, out.row(i));
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

void CpuOps::head_linear(Lane& lane, const ExpertMatrix& weights, const Activations& in,
                         int64_t in_step, int64_t out_step, Rows<float> out) const {
  const PanelProduct product = part_product_of(kernels_, weights.matrix, in);
  const int64_t last = weights.experts - 1;
  CHECK(last * in_step + weights.matrix.width() <= in.width &&
            last * out_step + weights.rows <= out.width,
        "{} heads from {} columns to {}", weights.experts, in.width, out.width);
  CHECK(in_step % in.forms.stretch() == 0, "heads {} columns apart", in_step);
  const int64_t panels = weights.panels();
  alignas(64) float sums[kPanelSums];
  lane.for_each_piece(weights.experts * panels, 1, [&](WorkRange piece) {
    for (int64_t t = 0; t < row_groups_of(in.rows); ++t) {
      const RowGroup group = row_group_at(in.rows, t);
      for (int64_t panel = piece.begin; panel < piece.end; ++panel) {
        const int64_t head = panel / panels;
        const int64_t first = panel % panels * kPanelRows;
        product(panel, group, sums, head * in_step);
        kernels_.store_panel(sums, group.rows, std::min<int64_t>(kPanelRows, weights.rows - first),
                             nullptr, false, out.row(group.first) + head * out_step + first,
                             out.stride);
      }
    }
  });
}

void CpuOps::hidden(Lane& lane, const Hidden& hidden, const Activations& in,
                    const Activations& out) const {
  const int64_t width = hidden.up->rows();
  CHECK(out.width == width && (hidden.gate == nullptr || hidden.gate->rows() == width),
        "up of {} rows for an output of {}", width, out.width);
  CHECK(hidden.gate_bias.empty() ||
        (hidden.gate != nullptr && std::ssize(hidden.gate_bias) == width));
  CHECK(hidden.up_bias.empty() || std::ssize(hidden.up_bias) == width);
  CHECK(hidden.gate != nullptr || hidden.function.kind != ActivationFunction::Kind::kClampedSwiglu,
        "a clamped SwiGLU without a gate");
  HiddenProducts products(kernels_, hidden, in);
  HiddenStore store(kernels_, hidden.function, out);
  lane.for_each_piece(hidden.up->panels(), store.together(), [&](WorkRange panels) {
    for (int64_t t = 0; t < row_groups_of(in.rows); ++t) {
      const RowGroup group = row_group_at(in.rows, t);
      for (int64_t panel = panels.begin; panel < panels.end; panel += kHiddenPanels) {
        const int64_t count = std::min(kHiddenPanels, panels.end - panel);
        store(products(panel, count, group), group, panel);
      }
    }
  });
}

}  // namespace millrace::ops
