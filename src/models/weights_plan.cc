#include "models/weights_plan.h"

#include <algorithm>
#include <array>
#include <memory>

#include "files/gguf_types.h"
#include "models/network.h"
#include "models/unread_tensors.h"
#include "quant/packed_matrix.h"

namespace millrace {
namespace {

constexpr int64_t kCacheLine = 64;

std::span<const int64_t> without_ones(std::span<const int64_t> shape) {
  while (!shape.empty() && shape.front() == 1) shape = shape.subspan(1);
  return shape;
}

// The weights of one layer as they will be, without values.
class PlannedWeights final : public Weights {
 public:
  PlannedWeights(WeightsPlan& plan, const ModelSpec& spec, int32_t layer)
      : plan_(plan), spec_(spec), layer_(layer) {}

  absl::StatusOr<PackedMatrix> matrix(const MatrixOrder& order) override {
    ASSIGN_OR_RETURN(const auto packed, matrices({&order, 1}));
    return packed[0];
  }

  absl::StatusOr<std::vector<PackedMatrix>> matrices(std::span<const MatrixOrder> orders) override {
    std::vector<const NamedTensor*> tensors;
    for (const MatrixOrder& order : orders) {
      ASSIGN_OR_RETURN(
          tensors.emplace_back(),
          plan_.find_matrix(spec_.tensor_name(order.role, layer_), order.rows, order.width));
    }
    std::vector<PackedMatrix> packed;
    for (const auto& stack : WeightsPlan::stacks(tensors)) {
      plan_.add_matrix(stack);
      int64_t rows = 0;
      for (const NamedTensor* tensor : stack) rows += tensor->layout.rows();
      const TensorLayout& first = stack[0]->layout;
      packed.emplace_back(first.dtype, rows, first.width(), nullptr);
    }
    return packed;
  }

  absl::StatusOr<std::span<const float>> vectors(std::span<const VectorOrder> orders) override {
    int64_t size = 0;
    for (const VectorOrder& order : orders) {
      RETURN_IF_ERROR(
          plan_.find_vector(spec_.tensor_name(order.role, layer_), order.size).status());
      size += order.size;
    }
    plan_.add_vectors(size);
    zeros_.emplace_back(static_cast<size_t>(size));
    return std::span<const float>(zeros_.back());
  }

  ActivationForms input_forms(DType, InputForm) const override { return {.f32 = true}; }

 private:
  WeightsPlan& plan_;
  const ModelSpec& spec_;
  int32_t layer_;
  std::vector<std::vector<float>> zeros_;
};

absl::Status check_all_used(const Checkpoint& checkpoint, const ModelSpec& spec,
                            const WeightsPlan& plan) {
  for (const NamedTensor& tensor : checkpoint.tensors()) {
    if (!plan.has_found(tensor.name)) return refuse_tensor(tensor.name, spec);
  }
  for (const UnknownTensor& tensor : checkpoint.unknown_tensors()) {
    return refuse_tensor(tensor.name, spec);  // one that is used was refused for its type
  }
  return absl::OkStatus();
}

}  // namespace

int64_t whole_lines(int64_t bytes) { return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine; }

absl::StatusOr<const NamedTensor*> WeightsPlan::find(std::string_view name,
                                                     std::span<const int64_t> shape) {
  const NamedTensor* tensor = checkpoint_->find(name);
  if (tensor == nullptr) {
    for (const UnknownTensor& unknown : checkpoint_->unknown_tensors()) {
      if (unknown.name == name) {
        return unimplemented("tensor '{}' has element type {}, which is not supported", name,
                             gguf_type_name(unknown.gguf_type));
      }
    }
    return not_found("tensor '{}' is missing", name);
  }
  const auto actual =
      std::span(tensor->layout.shape).first(static_cast<size_t>(tensor->layout.rank));
  if (!std::ranges::equal(without_ones(actual), without_ones(shape))) {
    return invalid_argument(
        "tensor '{}' is {}, but the metadata asks for {}", name,
        actual.empty() ? "a single number" : fmt::format("{}", fmt::join(actual, " x ")),
        fmt::join(shape, " x "));
  }
  if (found_.insert(tensor->name).second) file_bytes_ += tensor->layout.bytes();
  return tensor;
}

absl::StatusOr<const NamedTensor*> WeightsPlan::find_matrix(std::string_view name, int64_t rows,
                                                            int64_t width) {
  return find(name, std::array{rows, width});
}

absl::StatusOr<const NamedTensor*> WeightsPlan::find_vector(std::string_view name, int64_t size) {
  ASSIGN_OR_RETURN(const NamedTensor* tensor, find(name, std::array{size}));
  if (!is_quantised(tensor->layout.dtype)) return tensor;
  return unimplemented("tensor '{}' is {}, but vectors must be F32, F16 or BF16", name,
                       info_of(tensor->layout.dtype).name);
}

std::vector<std::span<const NamedTensor* const>> WeightsPlan::stacks(
    std::span<const NamedTensor* const> tensors) {
  std::vector<std::span<const NamedTensor* const>> stacks;
  for (size_t begin = 0, end = 0; begin < tensors.size(); begin = end) {
    int64_t rows = 0;
    do {
      rows += tensors[end++]->layout.rows();
    } while (end < tensors.size() && rows % kPanelRows == 0 &&
             tensors[end]->layout.dtype == tensors[begin]->layout.dtype);
    stacks.push_back(tensors.subspan(begin, end - begin));
  }
  return stacks;
}

void WeightsPlan::add_matrix(std::span<const NamedTensor* const> stack) {
  int64_t rows = 0;
  const TensorLayout& first = stack[0]->layout;
  for (const NamedTensor* tensor : stack) {
    rows += tensor->layout.rows();
    matrix_order_ += fmt::format("{} {}, ", tensor->name, tensor->layout.rows());
  }
  matrix_order_ += fmt::format("{} {}\n", info_of(first.dtype).name, first.width());
  matrix_bytes_ += whole_lines(PackedMatrix::bytes(first.dtype, rows, first.width()));
}

void WeightsPlan::add_vectors(int64_t elements) {
  vector_bytes_ += whole_lines(elements * static_cast<int64_t>(sizeof(float)));
}

absl::StatusOr<WeightsPlan> plan_weights(const Checkpoint& checkpoint, const ModelSpec& spec) {
  WeightsPlan plan(checkpoint);
  Network network;
  RETURN_IF_ERROR(
      load_network(
          spec, [&](int32_t layer) { return std::make_unique<PlannedWeights>(plan, spec, layer); },
          network)
          .status());
  RETURN_IF_ERROR(check_all_used(checkpoint, spec, plan));
  return plan;
}

}  // namespace millrace
