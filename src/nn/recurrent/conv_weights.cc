#include "nn/recurrent/conv_weights.h"

namespace millrace {

std::vector<float> transposed(std::span<const float> matrix, int64_t rows) {
  const auto height = static_cast<size_t>(rows);
  const size_t width = matrix.size() / height;
  std::vector<float> turned(matrix.size());
  for (size_t row = 0; row < height; ++row) {
    for (size_t i = 0; i < width; ++i) turned[i * height + row] = matrix[row * width + i];
  }
  return turned;
}

absl::Status ConvWeights::load(Weights& weights, std::span<const VectorOrder> tensors,
                               std::span<const VectorOrder> bias) {
  int64_t channels = 0;
  for (const VectorOrder& tensor : tensors) {
    channels += tensor.parts;
    if (tensor.size > kConvKernelMax) {
      return unimplemented("'{}' weighs {} inputs, but at most {} are supported", tensor.name,
                           tensor.size, kConvKernelMax);
    }
  }
  ASSIGN_OR_RETURN(const std::span<const float> of_channels, weights.vectors(tensors));
  weight_ = transposed(of_channels, channels);
  if (!bias.empty()) {
    ASSIGN_OR_RETURN(bias_, weights.vectors(bias));
  }
  return absl::OkStatus();
}

}  // namespace millrace
