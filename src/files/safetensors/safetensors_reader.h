#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "files/checkpoint.h"
#include "tensor/dtype.h"

namespace millrace {

// A tensor as a safetensors file has it.
struct StoredTensor {
  std::string name;
  std::string type;            // as the file names it: "BF16"
  std::optional<DType> dtype;  // nothing: Millrace does not read its type
  std::vector<int64_t> shape;  // the slowest dimension first
  uint64_t offset = 0;         // in the file
  uint64_t bytes = 0;
  int32_t file = 0;  // which of those that were read
};

// Reads the list of tensors, in the order of their data. Nothing in the bytes is believed: the
// header lies within the file, is JSON within bounds, and names no tensor twice; tensors fill the
// rest of the file without holes or overlaps, each as large as its type and shape say.
// INVALID_ARGUMENT names the tensor at fault.
absl::StatusOr<std::vector<StoredTensor>> read_safetensors(CheckpointFile& file);

}  // namespace millrace
