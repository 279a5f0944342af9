#include "nn/linear.h"

#include <utility>

#include "base/check.h"

namespace millrace {

absl::Status Linear::load(Weights& weights, std::span<const MatrixOrder> orders, InputForm form,
                          std::span<const float> bias) {
  ASSIGN_OR_RETURN(matrices_, weights.matrices(orders));
  bias_ = bias;
  int64_t rows = 0;
  for (const PackedMatrix& matrix : matrices_) {
    input_forms_ |= weights.input_forms(matrix.format(), form);
    rows += matrix.rows();
  }
  CHECK(bias.empty() || std::ssize(bias) == rows, "a bias of {} for {} rows", bias.size(), rows);
  return absl::OkStatus();
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

}  // namespace millrace
