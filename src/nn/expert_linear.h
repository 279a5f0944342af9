#pragma once

#include <cstdint>
#include <span>

#include "kernels/ops.h"
#include "nn/weights.h"

namespace millrace {

// The matrices of all experts, or heads, with their biases, one tensor in the file.
class ExpertLinear {
 public:
  // biased: every expert has a bias of as many elements as its matrix has rows.
  absl::Status load(Weights& weights, const ExpertOrder& order, InputForm form,
                    bool biased = false);

  const ops::ExpertMatrix& matrices() const { return matrices_; }
  std::span<const float> bias() const { return bias_; }  // [experts, rows] or empty
  ActivationForms input_forms() const { return input_forms_; }

 private:
  ops::ExpertMatrix matrices_;
  std::span<const float> bias_;
  ActivationForms input_forms_;
};

}  // namespace millrace
