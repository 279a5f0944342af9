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

// The same elements in the same order.
std::vector<int64_t> without_ones(std::span<const int64_t> shape) {
  std::vector<int64_t> others;
  std::ranges::copy_if(shape, std::back_inserter(others), [](int64_t size) { return size != 1; });
  return others;
}

// The weights of one layer as they will be, without values.
class PlannedWeights final : public Weights {
 public:
  PlannedWeights(WeightsPlan& plan, int32_t layer) : plan_(plan), layer_(layer) {}

  absl::StatusOr<std::vector<PackedMatrix>> matrices(std::span<const MatrixOrder> orders) override {
    std::vector<TensorRows> weights;
    for (const MatrixOrder& order : orders) {
      ASSIGN_OR_RETURN(weights.emplace_back(), plan_.find(order, layer_));
    }
    std::vector<PackedMatrix> packed;
    for (const auto& stack : WeightsPlan::stacks(weights)) {
      packed.push_back(matrix_of(stack));
    }
    return packed;
  }

  absl::StatusOr<PackedMatrix> experts(const ExpertOrder& order) override {
    ASSIGN_OR_RETURN(const std::vector<TensorRows> weights, plan_.find(order, layer_));
    return matrix_of(weights);
  }

  absl::StatusOr<std::span<const float>> vectors(std::span<const VectorOrder> orders) override {
    int64_t size = 0;
    for (const VectorOrder& order : orders) {
      RETURN_IF_ERROR(plan_.find(order, layer_).status());
      size += order.parts * order.size;
    }
    plan_.add_vectors(size);
    zeros_.emplace_back(static_cast<size_t>(size));
    return std::span<const float>(zeros_.back());
  }

  ActivationForms input_forms(DType, InputForm) const override { return {.f32 = true}; }

 private:
  PackedMatrix matrix_of(std::span<const TensorRows> stack) {
    plan_.add_matrix(stack);
    return {stack[0].format(), WeightsPlan::rows_of(stack), stack[0].width, nullptr};
  }

  WeightsPlan& plan_;
  int32_t layer_;
  std::vector<std::vector<float>> zeros_;
};

absl::Status check_all_used(const Checkpoint& checkpoint, const ModelSpec& spec,
                            const WeightsPlan& plan) {
  for (const NamedTensor& tensor : checkpoint.tensors()) {
    if (plan.has_found(tensor.name)) continue;
    if (std::ranges::find(spec.unused, tensor.name) != spec.unused.end()) continue;
    return refuse_tensor(tensor.name, spec);
  }
  for (const UnknownTensor& tensor : checkpoint.unknown_tensors()) {
    return refuse_tensor(tensor.name, spec);  // one that is used was refused for its type
  }
  return absl::OkStatus();
}

}  // namespace

int64_t whole_lines(int64_t bytes) { return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine; }

int64_t whole_panels(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows * kPanelRows; }

std::string tensor_name(std::string_view name, int32_t layer) {
  return layer == kNoLayer ? std::string(name) : fmt::format("blk.{}.{}", layer, name);
}

absl::StatusOr<const NamedTensor*> WeightsPlan::find_whole(std::string_view name,
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

TensorSlice WeightsPlan::slice_of(const std::string& name, int64_t rows) const {
  const auto slice = std::ranges::find(slices_, name, &TensorSlice::name);
  if (slice != slices_.end()) return *slice;
  return {.name = name, .source = name, .first_row = 0, .source_rows = rows};
}

absl::StatusOr<TensorRows> WeightsPlan::find(const std::string& name, int32_t layer,
                                             std::span<int64_t> shape) {
  const TensorSlice slice = slice_of(name, shape[0]);
  TensorRows weight = {
      .first = slice.first_row, .rows = shape[0], .width = shape.size() == 1 ? 1 : shape[1]};
  shape[0] = slice.source_rows;
  ASSIGN_OR_RETURN(weight.tensor, find_whole(tensor_name(slice.source, layer), shape));
  return weight;
}

absl::StatusOr<TensorRows> WeightsPlan::find(const MatrixOrder& order, int32_t layer) {
  std::array shape = {order.rows, order.width};
  return find(fmt::format("{}.weight", order.name), layer, shape);
}

absl::StatusOr<std::vector<TensorRows>> WeightsPlan::find(const ExpertOrder& order, int32_t layer) {
  const TensorSlice slice = slice_of(fmt::format("{}.weight", order.name), order.rows);
  const std::string name = tensor_name(slice.source, layer);
  const int64_t width = slice.transposed ? order.rows : order.width;
  const std::array stacked = {order.experts * slice.source_rows, width};
  const std::array apart = {order.experts, slice.source_rows, width};
  const NamedTensor* found = checkpoint_->find(name);
  const bool is_matrix = found != nullptr && found->layout.rank == 2;
  ASSIGN_OR_RETURN(const NamedTensor* tensor,
                   is_matrix ? find_whole(name, stacked) : find_whole(name, apart));
  if (slice.source_rows == order.rows && order.rows % kPanelRows == 0 && !slice.transposed) {
    return std::vector<TensorRows>{{tensor, 0, order.experts * order.rows, order.width}};
  }
  std::vector<TensorRows> weights;
  for (int64_t expert = 0; expert < order.experts; ++expert) {
    weights.push_back({tensor, expert * slice.source_rows + slice.first_row, order.rows,
                       order.width, slice.transposed});
  }
  return weights;
}

absl::StatusOr<TensorRows> WeightsPlan::find(const VectorOrder& order, int32_t layer) {
  std::array shape = {order.size};
  const std::array all_shape = {order.parts, order.size};
  TensorRows weight = {.rows = order.parts * order.size};
  if (order.parts == 1) {
    ASSIGN_OR_RETURN(weight, find(std::string(order.name), layer, shape));
  } else {
    ASSIGN_OR_RETURN(weight.tensor, find_whole(tensor_name(order.name, layer), all_shape));
  }
  if (!is_quantised(weight.format())) return weight;
  return unimplemented("tensor '{}' is {}, but vectors must be F32, F16 or BF16",
                       weight.tensor->name, info_of(weight.format()).name);
}

std::vector<std::span<const TensorRows>> WeightsPlan::stacks(std::span<const TensorRows> weights) {
  std::vector<std::span<const TensorRows>> stacks;
  for (size_t begin = 0, end = 0; begin < weights.size(); begin = end) {
    int64_t rows = 0;
    do {
      rows += weights[end++].rows;
    } while (end < weights.size() && rows % kPanelRows == 0 &&
             weights[end].format() == weights[begin].format());
    stacks.push_back(weights.subspan(begin, end - begin));
  }
  return stacks;
}

int64_t WeightsPlan::rows_of(std::span<const TensorRows> stack) {
  int64_t rows = 0;
  for (const TensorRows& weight : stack) rows = whole_panels(rows) + weight.rows;
  return rows;
}

void WeightsPlan::add_matrix(std::span<const TensorRows> stack) {
  for (const TensorRows& weight : stack) {
    matrix_order_ += fmt::format("{} {} {}, ", weight.tensor->name, weight.first, weight.rows);
  }
  const DType format = stack[0].format();
  const int64_t width = stack[0].width;
  matrix_order_ += fmt::format("{} {}\n", info_of(format).name, width);
  matrix_bytes_ += whole_lines(PackedMatrix::bytes(format, rows_of(stack), width));
}

void WeightsPlan::add_vectors(int64_t elements) {
  vector_bytes_ += whole_lines(elements * static_cast<int64_t>(sizeof(float)));
}

absl::StatusOr<WeightsPlan> plan_weights(const Checkpoint& checkpoint, const ModelSpec& spec) {
  WeightsPlan plan(checkpoint, spec.slices);
  Network network;
  RETURN_IF_ERROR(load_network(
      spec, [&](int32_t layer) { return std::make_unique<PlannedWeights>(plan, layer); }, network));
  RETURN_IF_ERROR(check_all_used(checkpoint, spec, plan));
  return plan;
}

}  // namespace millrace
