#include "models/tensor_packer.h"

#include <cstring>

#include "base/check.h"
#include "tensor/float_bits.h"

namespace millrace {
namespace {

constexpr int64_t kCacheLine = 64;

int64_t whole_lines(int64_t bytes) { return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine; }

int64_t memory_bytes(const TensorView& view) {
  if (view.rank < 2) return whole_lines(view.elements() * static_cast<int64_t>(sizeof(float)));
  return whole_lines(PackedMatrix::bytes(view.dtype, view.rows(), view.width()));
}

void copy_as_f32(const TensorView& view, float* out) {
  const int64_t size = view.elements();
  if (view.dtype == DType::kF32) {
    std::memcpy(out, view.data, static_cast<size_t>(size) * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < size; ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, view.data + i * 2, sizeof(bits));
    out[i] = view.dtype == DType::kF16 ? f32_of_f16(bits) : f32_of_bf16(bits);
  }
}

}  // namespace

absl::StatusOr<TensorPacker> TensorPacker::create(const Checkpoint& checkpoint,
                                                  const LoadOptions& options, LanePool& lanes) {
  TensorPacker packer(checkpoint, options, lanes);
  int64_t bytes = 0;
  for (const NamedTensor& tensor : checkpoint.tensors()) {
    bytes += memory_bytes(tensor.view);
    packer.bytes_total_ += tensor.view.bytes();
  }
  ASSIGN_OR_RETURN(packer.memory_, Buffer::allocate(bytes));
  return packer;
}

absl::StatusOr<const NamedTensor*> TensorPacker::find(std::string_view name, int64_t rows,
                                                      int64_t width) const {
  const NamedTensor* tensor = checkpoint_->find(name);
  if (tensor == nullptr) {
    for (const UnknownTensor& unknown : checkpoint_->unknown_tensors()) {
      if (unknown.name == name) {
        return unimplemented("tensor '{}' has element type {}, which Millrace does not know", name,
                             unknown.gguf_type);
      }
    }
    return not_found("tensor '{}' is missing", name);
  }
  if (tensor->view.rows() != rows || tensor->view.width() != width) {
    return invalid_argument("tensor '{}' is {} x {}, but the metadata asks for {} x {}", name,
                            tensor->view.rows(), tensor->view.width(), rows, width);
  }
  return tensor;
}

PackedMatrix TensorPacker::pack(std::span<const NamedTensor* const> tensors) {
  const TensorView& first = tensors[0]->view;
  int64_t rows = 0;
  for (const NamedTensor* tensor : tensors) rows += tensor->view.rows();
  PackedMatrix matrix(first.dtype, rows, first.width(),
                      take(PackedMatrix::bytes(first.dtype, rows, first.width())));
  int64_t row = 0;
  for (const NamedTensor* tensor : tensors) {
    lanes_->run([&](Lane& lane) { matrix.pack(lane, tensor->view, row); });
    row += tensor->view.rows();
    done_with(*tensor);
  }
  return matrix;
}

absl::StatusOr<std::span<const float>> TensorPacker::join(
    std::span<const NamedTensor* const> tensors) {
  int64_t size = 0;
  for (const NamedTensor* tensor : tensors) {
    if (is_quantised(tensor->view.dtype)) {
      return unimplemented("tensor '{}' is {}, but vectors must be F32, F16 or BF16", tensor->name,
                           info_of(tensor->view.dtype).name);
    }
    size += tensor->view.elements();
  }
  auto* const out = reinterpret_cast<float*>(take(size * static_cast<int64_t>(sizeof(float))));
  int64_t at = 0;
  for (const NamedTensor* tensor : tensors) {
    copy_as_f32(tensor->view, out + at);
    at += tensor->view.elements();
    done_with(*tensor);
  }
  return std::span<const float>(out, static_cast<size_t>(size));
}

std::byte* TensorPacker::take(int64_t bytes) {
  std::byte* const piece = memory_.data() + used_;
  used_ += whole_lines(bytes);
  CHECK(used_ <= memory_.size(), "a tensor was packed twice");
  return piece;
}

void TensorPacker::done_with(const NamedTensor& tensor) {
  checkpoint_->drop(tensor);
  bytes_done_ += tensor.view.bytes();
  if (options_->progress) {
    options_->progress(static_cast<double>(bytes_done_) / static_cast<double>(bytes_total_));
  }
}

absl::StatusOr<PackedMatrix> LayerWeights::matrix(const MatrixOrder& order) {
  ASSIGN_OR_RETURN(const NamedTensor* tensor, find(order.role, order.rows, order.width));
  return packer_.pack({&tensor, 1});
}

absl::StatusOr<std::vector<PackedMatrix>> LayerWeights::matrices(
    std::span<const MatrixOrder> orders) {
  std::vector<const NamedTensor*> tensors;
  for (const MatrixOrder& order : orders) {
    ASSIGN_OR_RETURN(tensors.emplace_back(), find(order.role, order.rows, order.width));
  }
  std::vector<PackedMatrix> packed;
  for (size_t begin = 0, end = 0; begin < tensors.size(); begin = end) {
    const TensorView& first = tensors[begin]->view;
    int64_t rows = 0;
    do {
      rows += tensors[end++]->view.rows();
    } while (end < tensors.size() && rows % kPanelRows == 0 &&
             tensors[end]->view.dtype == first.dtype);
    packed.push_back(packer_.pack(std::span(tensors).subspan(begin, end - begin)));
  }
  return packed;
}

absl::StatusOr<std::span<const float>> LayerWeights::vectors(std::span<const VectorOrder> orders) {
  std::vector<const NamedTensor*> tensors;
  for (const VectorOrder& order : orders) {
    ASSIGN_OR_RETURN(tensors.emplace_back(), find(order.role, 1, order.size));
  }
  return packer_.join(tensors);
}

ActivationForms LayerWeights::input_forms(DType format) const {
  if (packer_.activations() == ActivationMode::kF32) return {.f32 = true};
  if (is_quantised(format)) return {.q8 = true};
  if (format == DType::kBF16 && packer_.has_bf16_products()) return {.bf16 = true};
  return {.f32 = true};
}

}  // namespace millrace
