#include "apps/conversion/gguf_weights.h"

#include <algorithm>
#include <map>

#include "files/hub/tensor_rules.h"
#include "quant/format.h"

namespace millrace {
namespace {

constexpr int64_t kPieceBytes = 1 << 20;  // that a lane reads at once

struct FileType {
  DType type;
  int64_t id;
};
constexpr FileType kFileTypes[] = {
    {DType::kF32, 0},   {DType::kF16, 1},   {DType::kQ4_0, 2},  {DType::kQ4_1, 3},
    {DType::kQ8_0, 7},  {DType::kQ5_0, 8},  {DType::kQ5_1, 9},  {DType::kQ4_K, 14},
    {DType::kQ5_K, 16}, {DType::kQ6_K, 18}, {DType::kBF16, 32}, {DType::kMXFP4, 38},
};

// Rows [first, first + rows) of a tensor, in the type of its plan.
absl::Status convert_rows(const Checkpoint& checkpoint, const NamedTensor& tensor, DType to,
                          int64_t first, int64_t rows, std::span<std::byte> out) {
  const TensorLayout& layout = tensor.layout;
  const int64_t row_size = row_bytes(layout.dtype, layout.width());
  if (to == layout.dtype) return checkpoint.read(tensor, first * row_size, out);
  std::vector<std::byte> stored(static_cast<size_t>(rows * row_size));
  RETURN_IF_ERROR(checkpoint.read(tensor, first * row_size, stored));
  std::vector<float> values(static_cast<size_t>(layout.width()));
  const int64_t out_size = row_bytes(to, layout.width());
  for (int64_t row = 0; row < rows; ++row) {
    unpack_row(layout.dtype, stored.data() + row * row_size, layout.width(), values.data());
    pack_row(to, values.data(), layout.width(), out.data() + row * out_size);
  }
  return absl::OkStatus();
}

// Writes one tensor, so many rows of it at once as all lanes take.
absl::Status write_tensor(const Checkpoint& checkpoint, const NamedTensor& tensor, DType to,
                          GgufWriter& writer, LanePool& lanes) {
  const TensorLayout& layout = tensor.layout;
  const int64_t row_size = row_bytes(layout.dtype, layout.width());
  const int64_t out_size = row_bytes(to, layout.width());
  const int64_t each = std::max<int64_t>(1, kPieceBytes / row_size);
  std::vector<std::byte> out;
  std::vector<absl::Status> results(static_cast<size_t>(lanes.lanes()));
  for (int64_t first = 0; first < layout.rows(); first += each * lanes.lanes()) {
    const int64_t rows = std::min(each * lanes.lanes(), layout.rows() - first);
    out.resize(static_cast<size_t>(rows * out_size));
    lanes.run([&](Lane& lane) {
      const WorkRange mine = lane.share(rows, 1);
      if (mine.begin == mine.end) return;
      const auto part =
          std::span(out).subspan(static_cast<size_t>(mine.begin * out_size),
                                 static_cast<size_t>((mine.end - mine.begin) * out_size));
      results[static_cast<size_t>(lane.index())] =
          convert_rows(checkpoint, tensor, to, first + mine.begin, mine.end - mine.begin, part);
    });
    for (const absl::Status& result : results) RETURN_IF_ERROR(result);
    RETURN_IF_ERROR(writer.write(out));
  }
  return absl::OkStatus();
}

}  // namespace

WeightsToWrite plan_weights_to_write(const Checkpoint& checkpoint, std::optional<DType> type) {
  WeightsToWrite weights;
  for (const NamedTensor& tensor : checkpoint.tensors()) {
    const TensorLayout& layout = tensor.layout;
    const auto rank = static_cast<size_t>(layout.rank);
    DType dtype = layout.dtype;
    if (is_always_f32(tensor.name, rank)) {
      dtype = DType::kF32;
    } else if (type && layout.width() % info_of(*type).block_elements == 0) {
      dtype = *type;
    } else if (type) {
      ++weights.kept;
    }
    const auto* shape = layout.shape.data();
    weights.plan.push_back({tensor.name, dtype, {shape, shape + layout.rank}});
  }
  return weights;
}

int64_t gguf_file_type(std::span<const TensorPlan> plan) {
  std::map<DType, int64_t> bytes;
  for (const TensorPlan& tensor : plan) bytes[tensor.dtype] += tensor.bytes();
  const auto most = std::ranges::max_element(bytes, {}, [](const auto& one) { return one.second; });
  if (most == bytes.end()) return 0;
  const auto* known = std::ranges::find(kFileTypes, most->first, &FileType::type);
  return known == std::end(kFileTypes) ? 0 : known->id;
}

absl::Status write_weights(const Checkpoint& checkpoint, const WeightsToWrite& weights,
                           GgufWriter& writer, LanePool& lanes,
                           absl::FunctionRef<void(double)> progress) {
  double total = 0, written = 0;
  for (const TensorPlan& tensor : weights.plan) total += static_cast<double>(tensor.bytes());
  for (size_t i = 0; i < weights.plan.size(); ++i) {
    const TensorPlan& plan = weights.plan[i];
    RETURN_IF_ERROR(write_tensor(checkpoint, checkpoint.tensors()[i], plan.dtype, writer, lanes));
    written += static_cast<double>(plan.bytes());
    progress(written / total);
  }
  return absl::OkStatus();
}

}  // namespace millrace
