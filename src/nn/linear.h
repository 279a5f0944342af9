#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "kernels/activations.h"
#include "kernels/ops.h"
#include "nn/weights.h"

namespace millrace {

// The same activations with some of their forms alone: a product reads the smallest that it finds,
// which may have been made for another matrix.
Activations in_forms(const Activations& in, ActivationForms forms);

// Rows of a kExact Linear whose products are gates: nothing keeps them, so they read kCompact
// input, but for panels that they share with other rows.
struct GateRows {
  int64_t first = 0;
  int64_t rows = 0;
};

// A matrix with its bias: the one place that reads weights. Matrices stacked over each other that
// read one input, as queries, keys and values do, are one Linear; they may have different formats.
class Linear {
 public:
  // Packs the ordered matrices. `bias` is empty, or orders vectors as long as all their rows
  // together; `gates` are of all their rows together.
  absl::Status load(Weights& weights, std::span<const MatrixOrder> orders, InputForm form,
                    std::span<const VectorOrder> bias = {}, GateRows gates = {});
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
  // out, or out += : [rows, sum of the matrices' rows]. in: in input_forms() and maybe others.
  void forward(Lane& lane, const Ops& ops, const Activations& in, ops::Store store,
               Rows<float> out) const;
  // Of one that is not stacked, sets out's columns [first, first + rows) alone; `first` fills whole
  // panels.
  void forward_rows(Lane& lane, const Ops& ops, int64_t first, int64_t rows, const Activations& in,
                    Rows<float> out) const;

 private:
  // Rows [row, row + rows) of one of the matrices, whose products are columns [column, ...).
  struct Part {
    size_t matrix;
    int64_t row;
    int64_t rows;
    int64_t column;
    ActivationForms forms;
  };
  absl::Status finish(Weights& weights, InputForm form, std::span<const VectorOrder> bias,
                      GateRows gates);
  void add_parts(const Weights& weights, InputForm form, size_t matrix, int64_t column,
                 GateRows gates);

  std::vector<PackedMatrix> matrices_;
  std::vector<Part> parts_;  // all rows of all matrices
  std::span<const float> bias_;
  ActivationForms input_forms_;
};

}  // namespace millrace
