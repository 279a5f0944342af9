#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "kernels/activations.h"
#include "kernels/ops.h"
#include "nn/weights.h"

namespace millrace {

// A matrix with its bias: the one place that reads weights. Matrices stacked over each other that
// read one input, as queries, keys and values do, are one Linear; they may have different formats.
class Linear {
 public:
  // Packs the ordered matrices. `bias` is empty, or orders vectors as long as all their rows
  // together.
  absl::Status load(Weights& weights, std::span<const MatrixOrder> orders, InputForm form,
                    std::span<const VectorOrder> bias = {});
  absl::Status load(Weights& weights, const MatrixOrder& order, InputForm form) {
    return load(weights, {&order, 1}, form);
  }
  // The same matrices with another bias or none.
  absl::Status load_tied(const Linear& other, Weights& weights, InputForm form,
                         std::span<const VectorOrder> bias = {});

  ActivationForms input_forms() const { return input_forms_; }
  std::span<const float> bias() const { return bias_; }
  // Of a Linear that is not stacked, for ops that make something of its product at once.
  const PackedMatrix& matrix() const;
  // out, or out += : [rows, sum of the matrices' rows].
  void forward(Lane& lane, const Ops& ops, const Activations& in, ops::Store store,
               Rows<float> out) const;
  // Of one that is not stacked, sets out's columns [first, first + rows) alone; `first` fills whole
  // panels.
  void forward_rows(Lane& lane, const Ops& ops, int64_t first, int64_t rows, const Activations& in,
                    Rows<float> out) const;

 private:
  absl::Status finish(Weights& weights, InputForm form, std::span<const VectorOrder> bias);

  std::vector<PackedMatrix> matrices_;
  std::span<const float> bias_;
  ActivationForms input_forms_;
};

}  // namespace millrace
