#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_set.h>

#include "base/status.h"
#include "files/checkpoint.h"
#include "models/spec.h"
#include "nn/weights.h"

namespace millrace {

// `bytes` rounded up to whole cache lines: what a piece of packed memory takes.
int64_t whole_lines(int64_t bytes);

// `rows` rounded up to whole panels: where the next weight of a stack begins.
int64_t whole_panels(int64_t rows);

// Outside of all layers.
inline constexpr int32_t kNoLayer = -1;

// "blk.3.attn_q.weight" for layer 3, the name itself for kNoLayer.
std::string tensor_name(std::string_view name, int32_t layer);

// Rows of a tensor that are one weight, or its columns where it is transposed. A vector's rows are
// its elements.
struct TensorRows {
  const NamedTensor* tensor = nullptr;
  int64_t first = 0;
  int64_t rows = 0;
  int64_t width = 1;
  bool transposed = false;

  // Blocks that lie along columns are unpacked.
  DType format() const {
    const DType stored = tensor->layout.dtype;
    return transposed && is_quantised(stored) ? DType::kF16 : stored;
  }
  int64_t stored_bytes() const {
    return transposed ? width * row_bytes(tensor->layout.dtype, rows)
                      : rows * row_bytes(tensor->layout.dtype, width);
  }
};

// Finds the weights that a spec asks for, and checks type and shape, without reading them. Of two
// shapes those are equal that differ in dimensions of 1 alone: GGUF's writers drop slowest ones,
// and have vectors of state-space units as columns.
class WeightsPlan {
 public:
  // Both outlive the plan.
  WeightsPlan(const Checkpoint& checkpoint, std::span<const TensorSlice> slices)
      : checkpoint_(&checkpoint), slices_(slices) {}

  // NOT_FOUND, UNIMPLEMENTED or INVALID_ARGUMENT, naming the tensor.
  absl::StatusOr<TensorRows> find(const MatrixOrder& order, int32_t layer);
  absl::StatusOr<TensorRows> find(const VectorOrder& order, int32_t layer);
  // Of each expert, or of all where their rows lie as they will be packed.
  absl::StatusOr<std::vector<TensorRows>> find(const ExpertOrder& order, int32_t layer);
  // Neighbours that become one matrix: of one format, where their rows fill whole panels.
  static std::vector<std::span<const TensorRows>> stacks(std::span<const TensorRows> weights);

  // Each weight of a stack begins with a whole panel.
  static int64_t rows_of(std::span<const TensorRows> stack);
  void add_matrix(std::span<const TensorRows> stack);
  void add_vectors(int64_t elements);

  // Of all that was added. Matrices and vectors are packed apart, each in the order of adding.
  int64_t matrix_bytes() const { return matrix_bytes_; }
  int64_t vector_bytes() const { return vector_bytes_; }
  int64_t packed_bytes() const { return matrix_bytes_ + vector_bytes_; }
  // Which tensors, of which formats and shapes, the matrices are made of.
  const std::string& matrix_order() const { return matrix_order_; }
  int64_t file_bytes() const { return file_bytes_; }  // of all that was found
  bool has_found(std::string_view name) const { return found_.contains(name); }

 private:
  // The first dimension of `shape` are the weight's rows.
  absl::StatusOr<TensorRows> find(const std::string& name, int32_t layer, std::span<int64_t> shape);
  // The whole tensor of that name where the spec has no slice for it.
  TensorSlice slice_of(const std::string& name, int64_t rows) const;
  absl::StatusOr<const NamedTensor*> find_whole(std::string_view name,
                                                std::span<const int64_t> shape);

  const Checkpoint* checkpoint_;
  std::span<const TensorSlice> slices_;
  int64_t matrix_bytes_ = 0;
  int64_t vector_bytes_ = 0;
  std::string matrix_order_;
  int64_t file_bytes_ = 0;
  absl::flat_hash_set<std::string_view> found_;
};

// What loading this spec from the checkpoint will need. Fails where loading would, but for what
// only the weights' values tell, and where the file holds weights that the spec does not use:
// UNIMPLEMENTED, naming the tensor.
absl::StatusOr<WeightsPlan> plan_weights(const Checkpoint& checkpoint, const ModelSpec& spec);

}  // namespace millrace
