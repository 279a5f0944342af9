#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <absl/functional/function_ref.h>

#include "base/metadata.h"
#include "base/status.h"
#include "tensor/dtype.h"
#include "tensor/view.h"

namespace millrace {

// A tensor to be written: shape as in TensorLayout, the slowest dimension first.
struct TensorPlan {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // at most 4; rows are whole blocks

  int64_t bytes() const;
};

struct TensorSource {
  std::string name;
  TensorView view;
};

// Writes GGUF piece by piece, so that a model need not fit into memory: begin, the tensors' data in
// the order of the plan, end. What the reader would refuse is INVALID_ARGUMENT here. The alignment
// is the metadata's `general.alignment`, 32 where it has none.
class GgufWriter {
 public:
  using Sink = std::function<absl::Status(std::span<const std::byte>)>;

  explicit GgufWriter(Sink sink, uint32_t version = 3);  // 2 or 3

  absl::Status begin(const Metadata& metadata, std::vector<TensorPlan> tensors);
  // The next bytes of the data: a tensor may come in pieces, a piece never crosses into another.
  absl::Status write(std::span<const std::byte> bytes);
  // INVALID_ARGUMENT when data is missing.
  absl::Status end() const;

 private:
  absl::Status put(std::span<const std::byte> bytes);
  absl::Status pad();

  Sink sink_;
  uint32_t version_;
  uint64_t alignment_ = 0;
  std::vector<TensorPlan> tensors_;
  size_t tensor_ = 0;         // whose data comes next
  int64_t tensor_bytes_ = 0;  // of it already written
  uint64_t written_ = 0;
};

// Writes a whole file of what `fill` gives the writer, from begin() to the last tensor. The path
// holds either what it held before or the whole new file.
absl::Status write_gguf(const std::string& path, absl::FunctionRef<absl::Status(GgufWriter&)> fill);
absl::Status write_gguf(const std::string& path, const Metadata& metadata,
                        std::span<const TensorSource> tensors);

}  // namespace millrace
