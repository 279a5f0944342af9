#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/system/lanes.h"
#include "files/checkpoint.h"
#include "kernels/kernels.h"
#include "models/load.h"
#include "models/weights_plan.h"
#include "nn/weights.h"
#include "tensor/buffer.h"

namespace millrace {

// Moves tensors from a file into packed form in one stretch of huge-page memory.
class TensorPacker {
 public:
  // The plan is of everything that will be packed.
  static absl::StatusOr<TensorPacker> create(const Checkpoint& checkpoint, const WeightsPlan& plan,
                                             const LoadOptions& options, LanePool& lanes);

  WeightsPlan& plan() { return plan_; }
  // The tensors, of one format and width, stacked into one matrix. Errors, here and of join(), name
  // the tensor. INVALID_ARGUMENT: its values are not all numbers; DATA_LOSS: it cannot be read.
  absl::StatusOr<PackedMatrix> pack(std::span<const NamedTensor* const> tensors);
  // The tensors, each a vector, one after the other as float32.
  absl::StatusOr<std::span<const float>> join(std::span<const NamedTensor* const> tensors);

  ActivationMode activations() const { return options_->activations; }
  bool has_bf16_products() const { return kernels_for(options_->isa).times_bf16 != nullptr; }
  Buffer take_memory() { return std::move(memory_); }

 private:
  TensorPacker(const Checkpoint& checkpoint, const WeightsPlan& plan, const LoadOptions& options,
               LanePool& lanes)
      : checkpoint_(&checkpoint),
        plan_(plan),
        options_(&options),
        lanes_(&lanes),
        pieces_(static_cast<size_t>(lanes.lanes())) {}
  absl::Status pack_rows(const NamedTensor& tensor, int64_t first_row, PackedMatrix& matrix);
  std::byte* take(int64_t bytes);
  void done_with(const NamedTensor& tensor);

  const Checkpoint* checkpoint_;
  WeightsPlan plan_;
  const LoadOptions* options_;
  LanePool* lanes_;
  std::vector<std::vector<std::byte>> pieces_;  // [lanes] what each has read of a tensor
  Buffer memory_;
  int64_t used_ = 0;
  int64_t bytes_done_ = 0;
};

// The weights of one layer.
class LayerWeights final : public Weights {
 public:
  LayerWeights(TensorPacker& packer, std::string (*tensor_name)(Role, int32_t), int32_t layer)
      : packer_(packer), tensor_name_(tensor_name), layer_(layer) {}

  absl::StatusOr<PackedMatrix> matrix(const MatrixOrder& order) override;
  absl::StatusOr<std::vector<PackedMatrix>> matrices(std::span<const MatrixOrder> orders) override;
  absl::StatusOr<std::span<const float>> vectors(std::span<const VectorOrder> orders) override;
  ActivationForms input_forms(DType format) const override;

 private:
  TensorPacker& packer_;
  std::string (*tensor_name_)(Role, int32_t);
  int32_t layer_;
};

}  // namespace millrace
