#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/activations.h"
#include "kernels/ops.h"
#include "nn/weights.h"

namespace millrace {

// A matrix product with its bias. Matrices stacked over each other that read one input, as queries,
// keys and values do, are one Linear; they may have different formats.
class Linear {
 public:
  // Packs the ordered matrices; `bias` is empty or as long as all their rows together.
  absl::Status load(Weights& weights, std::span<const MatrixOrder> orders, InputForm form,
                    std::span<const float> bias = {});

  ActivationForms input_forms() const { return input_forms_; }
  // out, or out += : [rows, sum of the matrices' rows].
  void forward(Lane& lane, const Ops& ops, const Activations& in, ops::Store store,
               Rows<float> out) const;

 private:
  std::vector<PackedMatrix> matrices_;
  std::span<const float> bias_;
  ActivationForms input_forms_;
};

}  // namespace millrace
