#include "nn/linear.h"

#include <utility>

#include "base/check.h"

namespace millrace {

absl::Status Linear::load(Weights& weights, std::span<const MatrixOrder> orders, InputForm form,
                          std::span<const VectorOrder> bias) {
  ASSIGN_OR_RETURN(matrices_, weights.matrices(orders));
  return finish(weights, form, bias);
}

absl::Status Linear::load_tied(const Linear& other, Weights& weights, InputForm form,
                               std::span<const VectorOrder> bias) {
  matrices_ = other.matrices_;
  return finish(weights, form, bias);
}

absl::Status Linear::finish(Weights& weights, InputForm form, std::span<const VectorOrder> bias) {
  int64_t rows = 0;
  for (const PackedMatrix& matrix : matrices_) {
    input_forms_ |= weights.input_forms(matrix.format(), form);
    rows += matrix.rows();
  }
  if (bias.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(bias_, weights.vectors(bias));
  CHECK(std::ssize(bias_) == rows, "a bias of {} for {} rows", bias_.size(), rows);
  return absl::OkStatus();
}

const PackedMatrix& Linear::matrix() const {
  CHECK(matrices_.size() == 1, "{} matrices in place of one", matrices_.size());
  return matrices_[0];
}

void Linear::forward(Lane& lane, const Ops& ops, const Activations& in, ops::Store store,
                     Rows<float> out) const {
  int64_t first = 0;
  for (const PackedMatrix& matrix : matrices_) {
    const auto bias = bias_.empty() ? bias_
                                    : bias_.subspan(static_cast<size_t>(first),
                                                    static_cast<size_t>(matrix.rows()));
    ops.linear(lane, matrix, in, bias, store,
               {out.data + first, out.rows, matrix.rows(), out.stride});
    first += matrix.rows();
  }
}

void Linear::forward_rows(Lane& lane, const Ops& ops, int64_t first, int64_t rows,
                          const Activations& in, Rows<float> out) const {
  const auto bias =
      bias_.empty() ? bias_ : bias_.subspan(static_cast<size_t>(first), static_cast<size_t>(rows));
  ops.linear(lane, matrix().part(first, rows), in, bias, ops::Store::kSet,
             {out.data + first, out.rows, rows, out.stride});
}

}  // namespace millrace
