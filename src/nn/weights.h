#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "kernels/activations.h"
#include "quant/packed_matrix.h"

namespace millrace {

// What a weight is for. An architecture (models/arch) gives each role its name in a file.
enum class Role : uint8_t {
  kTokenEmbedding,
  kRopeFactors,
  kOutputNorm,
  kOutput,
  kAttentionNorm,
  kQuery,
  kQueryBias,
  kQueryNorm,
  kKey,
  kKeyBias,
  kKeyNorm,
  kValue,
  kValueBias,
  kAttentionOutput,
  kAttentionOutputBias,
  kFfnNorm,
  kGate,
  kUp,
  kDown,
};

// How much of its input a product keeps: kCompact, or kExact where rounding would reach the
// log-probabilities or every later token. What each means is the loader's choice.
enum class InputForm : uint8_t { kCompact, kExact };

// A matrix that a layer asks for; a file that has another shape is refused.
struct MatrixOrder {
  Role role;
  int64_t rows = 0;
  int64_t width = 0;
};

struct VectorOrder {
  Role role;
  int64_t size = 0;
};

// One layer's weights, found by role. Errors name the tensor.
class Weights {
 public:
  virtual ~Weights() = default;

  virtual absl::StatusOr<PackedMatrix> matrix(const MatrixOrder& order) = 0;
  // Stacked in the order given: neighbours of one format become one matrix where their rows fill
  // whole panels.
  virtual absl::StatusOr<std::vector<PackedMatrix>> matrices(
      std::span<const MatrixOrder> orders) = 0;
  // One after the other, as float32; they live as long as the model.
  virtual absl::StatusOr<std::span<const float>> vectors(std::span<const VectorOrder> orders) = 0;
  // In which forms a matrix of this format reads its input.
  virtual ActivationForms input_forms(DType format, InputForm form) const = 0;

  absl::StatusOr<std::span<const float>> vector(Role role, int64_t size) {
    const VectorOrder order = {role, size};
    return vectors({&order, 1});
  }
};

}  // namespace millrace
