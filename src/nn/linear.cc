#include "nn/linear.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace millrace {
namespace {

std::span<const float> part_of_bias(std::span<const float> bias, int64_t first, int64_t rows) {
  if (bias.empty()) return bias;
  return bias.subspan(static_cast<size_t>(first), static_cast<size_t>(rows));
}

}  // namespace

Activations in_forms(const Activations& in, ActivationForms forms) {
  ActivationForms all = in.forms;
  all |= forms;
  CHECK(all == in.forms, "activations lack a form");
  Activations read = in;
  read.forms = forms;
  return read;
}

absl::Status Linear::load(Weights& weights, std::span<const MatrixOrder> orders, InputForm form,
                          std::span<const VectorOrder> bias, GateRows gates) {
  ASSIGN_OR_RETURN(matrices_, weights.matrices(orders));
  return finish(weights, form, bias, gates);
}

absl::Status Linear::load_tied(const Linear& other, Weights& weights, InputForm form,
                               std::span<const VectorOrder> bias) {
  matrices_ = other.matrices_;
  return finish(weights, form, bias, {});
}

absl::Status Linear::finish(Weights& weights, InputForm form, std::span<const VectorOrder> bias,
                            GateRows gates) {
  int64_t rows = 0;
  for (size_t i = 0; i < matrices_.size(); ++i) {
    add_parts(weights, form, i, rows, gates);
    rows += matrices_[i].rows();
  }
  CHECK(gates.first + gates.rows <= rows);
  if (bias.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(bias_, weights.vectors(bias));
  CHECK(std::ssize(bias_) == rows, "a bias of {} for {} rows", bias_.size(), rows);
  return absl::OkStatus();
}

// column: of the matrix's first row.
void Linear::add_parts(const Weights& weights, InputForm form, size_t matrix, int64_t column,
                       GateRows gates) {
  const int64_t rows = matrices_[matrix].rows();
  const auto add = [&](int64_t begin, int64_t end, InputForm of_part) {
    if (begin >= end) return;
    const ActivationForms forms = weights.input_forms(matrices_[matrix].format(), of_part);
    parts_.push_back({matrix, begin, end - begin, column + begin, forms});
    input_forms_ |= forms;
  };
  const int64_t first = std::clamp<int64_t>(gates.first - column, 0, rows);
  const int64_t last = std::clamp<int64_t>(gates.first + gates.rows - column, 0, rows);
  const int64_t begin = (first + kPanelRows - 1) / kPanelRows * kPanelRows;
  const int64_t end = last == rows ? rows : last / kPanelRows * kPanelRows;
  if (begin >= end) return add(0, rows, form);
  add(0, begin, form);
  add(begin, end, InputForm::kCompact);
  add(end, rows, form);
}

const PackedMatrix& Linear::matrix() const {
  CHECK(matrices_.size() == 1, "{} matrices in place of one", matrices_.size());
  return matrices_[0];
}

void Linear::forward(Lane& lane, const Ops& ops, const Activations& in, ops::Store store,
                     Rows<float> out) const {
  for (const Part& part : parts_) {
    ops.linear(lane, matrices_[part.matrix].part(part.row, part.rows), in_forms(in, part.forms),
               part_of_bias(bias_, part.column, part.rows), store,
               {out.data + part.column, out.rows, part.rows, out.stride});
  }
}

void Linear::forward_rows(Lane& lane, const Ops& ops, int64_t first, int64_t rows,
                          const Activations& in, Rows<float> out) const {
  ops.linear(lane, matrix().part(first, rows), in_forms(in, input_forms_),
             part_of_bias(bias_, first, rows), ops::Store::kSet,
             {out.data + first, out.rows, rows, out.stride});
}

}  // namespace millrace
