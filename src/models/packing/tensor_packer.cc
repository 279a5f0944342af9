#include "models/packing/tensor_packer.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "quant/format.h"

namespace millrace {
namespace {

// A lane reads and packs so much of a tensor at once: small enough to stay in its cache.
constexpr int64_t kPieceBytes = 256 << 10;

absl::Status not_numbers(const NamedTensor& tensor) {
  return invalid_argument("tensor '{}' holds values that are not numbers (NaN or infinite)",
                          tensor.name);
}

}  // namespace

absl::StatusOr<PackedMatrix> TensorPacker::pack(std::span<const NamedTensor* const> tensors) {
  const TensorLayout& first = tensors[0]->layout;
  int64_t rows = 0;
  for (const NamedTensor* tensor : tensors) rows += tensor->layout.rows();
  PackedMatrix matrix(first.dtype, rows, first.width(),
                      take(matrices_, PackedMatrix::bytes(first.dtype, rows, first.width())));
  int64_t row = 0;
  for (const NamedTensor* tensor : tensors) {
    if (target_.packs_matrices) RETURN_IF_ERROR(pack_tensor(*tensor, row, matrix));
    row += tensor->layout.rows();
    done_with(*tensor);
  }
  return matrix;
}

absl::Status TensorPacker::pack_tensor(const NamedTensor& tensor, int64_t first_row,
                                       PackedMatrix& matrix) {
  const int64_t rows = tensor.layout.rows();
  const int64_t panels = std::max<int64_t>(1, target_.piece_bytes / matrix.panel_bytes());
  const int64_t step = std::min(panels, matrix.panels()) * kPanelRows;
  for (int64_t row = 0; row < rows; row += step) {
    const WorkRange piece = {row, std::min(row + step, rows)};
    RETURN_IF_ERROR(pack_rows(tensor, piece, first_row, matrix));
    if (!target_.packed) continue;
    const int64_t end = (first_row + piece.end + kPanelRows - 1) / kPanelRows;
    RETURN_IF_ERROR(target_.packed(matrix.panel(end) - target_.matrices.data()));
  }
  return absl::OkStatus();
}

absl::Status TensorPacker::pack_rows(const NamedTensor& tensor, WorkRange rows, int64_t first_row,
                                     PackedMatrix& matrix) {
  const TensorLayout& layout = tensor.layout;
  const int64_t row_size = row_bytes(layout.dtype, layout.width());
  const int64_t piece_rows = std::max<int64_t>(1, kPieceBytes / row_size / kPanelRows) * kPanelRows;
  std::vector<absl::Status> results(pieces_.size());
  lanes_->run([&](Lane& lane) {
    const auto index = static_cast<size_t>(lane.index());
    std::vector<std::byte>& piece = pieces_[index];
    const WorkRange mine = lane.share(rows.size(), kPanelRows);
    const int64_t end = rows.begin + mine.end;
    for (int64_t row = rows.begin + mine.begin; row < end && results[index].ok();
         row += piece_rows) {
      const int64_t count = std::min(piece_rows, end - row);
      const auto bytes = static_cast<size_t>(count * row_size);
      if (piece.size() < bytes) piece.resize(bytes);
      results[index] = checkpoint_->read(tensor, row * row_size, std::span(piece).first(bytes));
      if (!results[index].ok()) return;
      const TensorView view{{layout.dtype, 2, {count, layout.width(), 1, 1}}, piece.data()};
      if (!matrix.pack(view, first_row + row)) results[index] = not_numbers(tensor);
    }
  });
  for (const absl::Status& result : results) RETURN_IF_ERROR(result);
  return absl::OkStatus();
}

absl::StatusOr<std::span<const float>> TensorPacker::join(
    std::span<const NamedTensor* const> tensors) {
  int64_t size = 0;
  for (const NamedTensor* tensor : tensors) size += tensor->layout.elements();
  auto* const out =
      reinterpret_cast<float*>(take(vectors_, size * static_cast<int64_t>(sizeof(float))));
  float* at = out;
  for (const NamedTensor* tensor : tensors) {
    const int64_t elements = tensor->layout.elements();
    ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, checkpoint_->read(*tensor));
    unpack_row(tensor->layout.dtype, bytes.data(), elements, at);
    const std::span<const float> values(at, static_cast<size_t>(elements));
    if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) {
      return not_numbers(*tensor);
    }
    at += elements;
    done_with(*tensor);
  }
  return std::span<const float>(out, static_cast<size_t>(size));
}

std::byte* TensorPacker::take(std::span<std::byte>& memory, int64_t bytes) {
  const auto size = static_cast<size_t>(whole_lines(bytes));
  CHECK(size <= memory.size(), "more is packed than was planned");
  std::byte* const piece = memory.data();
  memory = memory.subspan(size);
  return piece;
}

void TensorPacker::done_with(const NamedTensor& tensor) {
  bytes_done_ += tensor.layout.bytes();
  if (options_->progress) {
    options_->progress(static_cast<double>(bytes_done_) / static_cast<double>(plan_.file_bytes()));
  }
}

absl::StatusOr<PackedMatrix> LayerWeights::matrix(const MatrixOrder& order) {
  ASSIGN_OR_RETURN(const auto packed, matrices({&order, 1}));
  return packed[0];
}

absl::StatusOr<std::vector<PackedMatrix>> LayerWeights::matrices(
    std::span<const MatrixOrder> orders) {
  std::vector<const NamedTensor*> tensors;
  for (const MatrixOrder& order : orders) {
    ASSIGN_OR_RETURN(
        tensors.emplace_back(),
        packer_.plan().find_matrix(tensor_name_(order.role, layer_), order.rows, order.width));
  }
  std::vector<PackedMatrix> packed;
  for (const auto& stack : WeightsPlan::stacks(tensors)) {
    ASSIGN_OR_RETURN(packed.emplace_back(), packer_.pack(stack));
  }
  return packed;
}

absl::StatusOr<std::span<const float>> LayerWeights::vectors(std::span<const VectorOrder> orders) {
  std::vector<const NamedTensor*> tensors;
  for (const VectorOrder& order : orders) {
    ASSIGN_OR_RETURN(tensors.emplace_back(),
                     packer_.plan().find_vector(tensor_name_(order.role, layer_), order.size));
  }
  return packer_.join(tensors);
}

ActivationForms LayerWeights::input_forms(DType format, InputForm form) const {
  const ActivationMode mode = packer_.activations();
  if (mode == ActivationMode::kF32) return {.f32 = true};
  const bool compact = mode == ActivationMode::kQ8 ||
                       (mode == ActivationMode::kMixed && form == InputForm::kCompact);
  if (is_quantised(format))
    return compact ? ActivationForms{.q8 = true} : ActivationForms{.q16 = true};
  if (compact && format == DType::kBF16 && packer_.has_bf16_products()) return {.bf16 = true};
  return {.f32 = true};
}

}  // namespace millrace
