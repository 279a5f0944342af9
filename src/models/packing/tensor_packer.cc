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

absl::StatusOr<PackedMatrix> TensorPacker::pack(std::span<const TensorRows> stack) {
  const DType format = stack[0].format();
  const int64_t width = stack[0].width;
  const int64_t rows = WeightsPlan::rows_of(stack);
  PackedMatrix matrix(format, rows, width,
                      take(matrices_, PackedMatrix::bytes(format, rows, width)));
  int64_t row = 0;
  for (const TensorRows& weight : stack) {
    if (target_.packs_matrices) RETURN_IF_ERROR(pack_weight(weight, row, matrix));
    row = whole_panels(row + weight.rows);
    done_with(weight);
  }
  return matrix;
}

absl::Status TensorPacker::pack_weight(const TensorRows& weight, int64_t first_row,
                                       PackedMatrix& matrix) {
  const int64_t panels = std::max<int64_t>(1, target_.piece_bytes / matrix.panel_bytes());
  const int64_t step = std::min(panels, matrix.panels()) * kPanelRows;
  for (int64_t row = 0; row < weight.rows; row += step) {
    const WorkRange piece = {row, std::min(row + step, weight.rows)};
    RETURN_IF_ERROR(pack_rows(weight, piece, first_row, matrix));
    if (!target_.packed) continue;
    const int64_t end = (first_row + piece.end + kPanelRows - 1) / kPanelRows;
    RETURN_IF_ERROR(target_.packed(matrix.panel(end) - target_.matrices.data()));
  }
  return absl::OkStatus();
}

absl::Status TensorPacker::pack_rows(const TensorRows& weight, WorkRange rows, int64_t first_row,
                                     PackedMatrix& matrix) {
  const DType format = weight.format();
  const int64_t width = weight.width;
  const int64_t row_size = row_bytes(format, width);
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
      results[index] = weight.transposed
                           ? read_columns(weight, row, count, std::span(piece).first(bytes))
                           : checkpoint_->read(*weight.tensor, (weight.first + row) * row_size,
                                               std::span(piece).first(bytes));
      if (!results[index].ok()) return;
      provide_pages(matrix, first_row + row, count);
      const TensorView view{{format, 2, {count, width, 1, 1}}, piece.data()};
      if (!matrix.pack(view, first_row + row)) results[index] = not_numbers(*weight.tensor);
    }
  });
  for (const absl::Status& result : results) RETURN_IF_ERROR(result);
  return absl::OkStatus();
}

absl::Status TensorPacker::read_columns(const TensorRows& weight, int64_t first, int64_t count,
                                        std::span<std::byte> out) const {
  const DType stored = weight.tensor->layout.dtype;
  const int64_t stored_row = row_bytes(stored, weight.rows);
  std::vector<std::byte> bytes(static_cast<size_t>(weight.width * stored_row));
  RETURN_IF_ERROR(checkpoint_->read(*weight.tensor, weight.first * stored_row, bytes));
  std::vector<float> row(static_cast<size_t>(weight.rows));
  std::vector<float> columns(static_cast<size_t>(count * weight.width));
  for (int64_t i = 0; i < weight.width; ++i) {
    unpack_row(stored, bytes.data() + i * stored_row, weight.rows, row.data());
    for (int64_t column = 0; column < count; ++column) {
      columns[static_cast<size_t>(column * weight.width + i)] =
          row[static_cast<size_t>(first + column)];
    }
  }
  pack_row(weight.format(), columns.data(), count * weight.width, out.data());
  return absl::OkStatus();
}

void TensorPacker::provide_pages(const PackedMatrix& matrix, int64_t row, int64_t rows) const {
  if (target_.pages == nullptr) return;
  const int64_t end = (row + rows + kPanelRows - 1) / kPanelRows;
  target_.pages->provide(matrix.panel(row / kPanelRows) - target_.matrices.data(),
                         matrix.panel(end) - target_.matrices.data());
}

absl::StatusOr<std::span<const float>> TensorPacker::join(std::span<const TensorRows> vectors) {
  int64_t size = 0;
  for (const TensorRows& vector : vectors) size += vector.rows;
  auto* const out =
      reinterpret_cast<float*>(take(vectors_, size * static_cast<int64_t>(sizeof(float))));
  float* at = out;
  for (const TensorRows& vector : vectors) {
    const int64_t element_bytes = row_bytes(vector.format(), 1);
    std::vector<std::byte> bytes(static_cast<size_t>(vector.rows * element_bytes));
    RETURN_IF_ERROR(checkpoint_->read(*vector.tensor, vector.first * element_bytes, bytes));
    unpack_row(vector.format(), bytes.data(), vector.rows, at);
    const std::span<const float> values(at, static_cast<size_t>(vector.rows));
    if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) {
      return not_numbers(*vector.tensor);
    }
    at += vector.rows;
    done_with(vector);
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

void TensorPacker::done_with(const TensorRows& weight) {
  bytes_done_ += weight.stored_bytes();
  if (options_->progress) {
    options_->progress(static_cast<double>(bytes_done_) / static_cast<double>(plan_.file_bytes()));
  }
}

absl::StatusOr<std::vector<PackedMatrix>> LayerWeights::matrices(
    std::span<const MatrixOrder> orders) {
  std::vector<TensorRows> weights;
  for (const MatrixOrder& order : orders) {
    ASSIGN_OR_RETURN(weights.emplace_back(), packer_.plan().find(order, layer_));
  }
  std::vector<PackedMatrix> packed;
  for (const auto& stack : WeightsPlan::stacks(weights)) {
    ASSIGN_OR_RETURN(packed.emplace_back(), packer_.pack(stack));
  }
  return packed;
}

absl::StatusOr<PackedMatrix> LayerWeights::experts(const ExpertOrder& order) {
  ASSIGN_OR_RETURN(const std::vector<TensorRows> weights, packer_.plan().find(order, layer_));
  return packer_.pack(weights);
}

absl::StatusOr<std::span<const float>> LayerWeights::vectors(std::span<const VectorOrder> orders) {
  std::vector<TensorRows> weights;
  for (const VectorOrder& order : orders) {
    ASSIGN_OR_RETURN(weights.emplace_back(), packer_.plan().find(order, layer_));
  }
  return packer_.join(weights);
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
