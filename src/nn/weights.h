#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kernels/activations.h"
#include "quant/packed_matrix.h"

namespace millrace {

// How much of its input a product keeps: kCompact, or kExact where rounding would reach the
// log-probabilities or every later token. What each means is the loader's choice.
enum class InputForm : uint8_t { kCompact, kExact };

// A matrix that a layer asks for, by the name of its tensor without the layer: "attn_q" is
// "blk.3.attn_q.weight" for layer 3. A file that has another shape is refused.
struct MatrixOrder {
  std::string_view name;
  int64_t rows = 0;
  int64_t width = 0;
};

// Matrices [rows, width] of all experts, or heads, in one tensor, which may be one matrix too:
// theirs below each other.
struct ExpertOrder {
  std::string_view name;
  int64_t experts = 0;
  int64_t rows = 0;
  int64_t width = 0;
};

// Also by its last part: "attn_q.bias", "attn_norm.weight".
struct VectorOrder {
  std::string_view name;
  int64_t size = 0;
  int64_t parts = 1;  // experts or heads, each has a vector of this size, in one tensor
};

// The weights of one layer, or those outside of all layers, found by name. Errors name the tensor.
class Weights {
 public:
  virtual ~Weights() = default;

  // Stacked in the order given: neighbours of one format become one matrix where their rows fill
  // whole panels.
  virtual absl::StatusOr<std::vector<PackedMatrix>> matrices(
      std::span<const MatrixOrder> orders) = 0;
  // Each expert's rows begin with a whole panel.
  virtual absl::StatusOr<PackedMatrix> experts(const ExpertOrder& order) = 0;
  // One after the other, as float32; they live as long as the model.
  virtual absl::StatusOr<std::span<const float>> vectors(std::span<const VectorOrder> orders) = 0;
  // In which forms a matrix of this format reads its input.
  virtual ActivationForms input_forms(DType format, InputForm form) const = 0;

  absl::StatusOr<std::span<const float>> vector(const VectorOrder& order) {
    return vectors({&order, 1});
  }
};

}  // namespace millrace
