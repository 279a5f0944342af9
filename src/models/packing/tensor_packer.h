#pragma once

#include <cstdint>
#include <functional>
#include <limits>
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
#include "tensor/fresh_pages.h"

namespace millrace {

// Where packed weights go: memory as large as the plan says, aligned to cache lines.
struct PackTarget {
  std::span<std::byte> matrices;
  std::span<std::byte> vectors;
  // False: matrices get their places in memory, and someone else fills it.
  bool packs_matrices = true;
  FreshPages* pages = nullptr;  // for the matrices; null: they have pages, or get them in time
  // Called after each piece of a matrix, with how many bytes of `matrices` from the first on are
  // final; may be empty.
  std::function<absl::Status(int64_t bytes)> packed = {};
  int64_t piece_bytes = std::numeric_limits<int64_t>::max();  // of a matrix, about
};

// Moves tensors from a file into packed form: matrices one after the other, and vectors apart.
class TensorPacker {
 public:
  // The plan is of everything that will be packed. All but the plan outlive the packer.
  TensorPacker(const Checkpoint& checkpoint, const WeightsPlan& plan, const LoadOptions& options,
               LanePool& lanes, const PackTarget& target)
      : checkpoint_(&checkpoint),
        plan_(plan),
        options_(&options),
        lanes_(&lanes),
        pieces_(static_cast<size_t>(lanes.lanes())),
        target_(target),
        matrices_(target.matrices),
        vectors_(target.vectors) {}

  WeightsPlan& plan() { return plan_; }
  int64_t bytes_placed() const { return std::ssize(target_.matrices) - std::ssize(matrices_); }
  // The weights, of one format and width, stacked into one matrix. Errors, here and of join(), name
  // the tensor. INVALID_ARGUMENT: its values are not all numbers; DATA_LOSS: it cannot be read.
  absl::StatusOr<PackedMatrix> pack(std::span<const TensorRows> stack);
  // The weights, each a vector, one after the other as float32.
  absl::StatusOr<std::span<const float>> join(std::span<const TensorRows> vectors);

  ActivationMode activations() const { return options_->activations; }
  bool has_bf16_products() const { return kernels_for(options_->isa).times_bf16 != nullptr; }

 private:
  // Packs `rows` of a weight; its first row is `first_row` of the matrix.
  absl::Status pack_rows(const TensorRows& weight, WorkRange rows, int64_t first_row,
                         PackedMatrix& matrix);
  // Rows [first, first + count) of a transposed weight, in its format.
  absl::Status read_columns(const TensorRows& weight, int64_t first, int64_t count,
                            std::span<std::byte> out) const;
  void provide_pages(const PackedMatrix& matrix, int64_t row, int64_t rows) const;
  absl::Status pack_weight(const TensorRows& weight, int64_t first_row, PackedMatrix& matrix);
  // The next place in memory, of which the rest is left.
  static std::byte* take(std::span<std::byte>& memory, int64_t bytes);
  void done_with(const TensorRows& weight);

  const Checkpoint* checkpoint_;
  WeightsPlan plan_;
  const LoadOptions* options_;
  LanePool* lanes_;
  std::vector<std::vector<std::byte>> pieces_;  // [lanes] what each has read of a tensor
  PackTarget target_;
  std::span<std::byte> matrices_, vectors_;  // what is not taken of them
  int64_t bytes_done_ = 0;
};

// The weights of one layer, or with kNoLayer those outside of all.
class LayerWeights final : public Weights {
 public:
  LayerWeights(TensorPacker& packer, int32_t layer) : packer_(packer), layer_(layer) {}

  absl::StatusOr<std::vector<PackedMatrix>> matrices(std::span<const MatrixOrder> orders) override;
  absl::StatusOr<PackedMatrix> experts(const ExpertOrder& order) override;
  absl::StatusOr<std::span<const float>> vectors(std::span<const VectorOrder> orders) override;
  ActivationForms input_forms(DType format, InputForm form) const override;

 private:
  TensorPacker& packer_;
  int32_t layer_;
};

}  // namespace millrace
