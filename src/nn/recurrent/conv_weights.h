#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops.h"
#include "nn/weights.h"

namespace millrace {

// What a causal convolution of channels weighs its inputs with.
class ConvWeights {
 public:
  // Tensors of [channels, kernel] over each other, and a bias of all their channels or none.
  // UNIMPLEMENTED: a kernel of more inputs than the operation takes.
  absl::Status load(Weights& weights, std::span<const VectorOrder> tensors,
                    std::span<const VectorOrder> bias = {});
  ops::CausalConv conv(bool silu) const { return {.weight = weight_, .bias = bias_, .silu = silu}; }

 private:
  std::vector<float> weight_;  // [kernel, channels]
  std::span<const float> bias_;
};

// [columns, rows] of a matrix of [rows, columns].
std::vector<float> transposed(std::span<const float> matrix, int64_t rows);

}  // namespace millrace
