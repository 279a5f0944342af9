#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "files/checkpoint.h"
#include "files/hub/tensor_rules.h"
#include "files/safetensors/safetensors_reader.h"

namespace millrace {

// A tensor, or some of its elements, on the way.
struct MadeTensor {
  std::vector<int64_t> shape;
  std::vector<TensorPart> parts;
};

// INVALID_ARGUMENT: a stored tensor has another shape than its rule needs.
absl::Status not_shaped(const StoredTensor& stored, std::string_view expected);

// Makes parts of one stored tensor, of the shape [experts, rows, width], or without the first or
// the last.
class TensorMaker {
 public:
  // Both outlive it.
  TensorMaker(const StoredTensor& stored, const HubShape& shape);

  // factor: as in TensorRule.
  absl::StatusOr<MadeTensor> make(Transform transform, int32_t factor);
  // Of blocks, [experts, rows, blocks, 16], and their scales.
  absl::StatusOr<MadeTensor> make_mxfp4(const StoredTensor& scales, Transform transform);

 private:
  // Where `width` and `rows` of one expert are as given, and all experts are made alike.
  void add(int64_t offset, int64_t run, std::vector<TensorPart::Axis> axes, float factor = 1);
  absl::Status permute(int64_t heads);
  absl::Status by_head();
  absl::Status by_group();
  absl::Status half(int64_t which);
  absl::Status swap(int64_t first, int64_t count, int64_t step);
  absl::Status every_other(int64_t first);
  absl::Status row_of_each_token();
  absl::Status of_latents(bool keys);
  absl::Status turned(int64_t heads);
  absl::Status make_recurrent(Transform transform, int32_t factor);
  void squeeze();
  absl::Status groups();
  absl::Status mamba_in(int32_t factor);
  absl::Status joined(bool gates);
  // Rows of value heads behind `skipped` others.
  absl::Status in_turn(int64_t skipped);
  absl::Status in_turn_columns();

  const StoredTensor& stored_;
  const HubShape& shape_;
  int64_t experts_ = 1, rows_ = 1, width_ = 1;
  int64_t size_ = 0, row_bytes_ = 0;
  MadeTensor made_;
};

}  // namespace millrace
