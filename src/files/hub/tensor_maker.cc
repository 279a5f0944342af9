#include "files/hub/tensor_maker.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace millrace {
namespace {

// Merges axes into runs where that is the same.
void simplify(TensorPart& part) {
  std::erase_if(part.axes, [](const TensorPart::Axis& axis) { return axis.count == 1; });
  while (!part.axes.empty() && part.axes.back().stride == row_bytes(part.dtype, part.run)) {
    part.run *= part.axes.back().count;
    part.axes.pop_back();
  }
}

}  // namespace

absl::Status not_shaped(const StoredTensor& stored, std::string_view expected) {
  return invalid_argument(
      "tensor '{}' is {}, but must have {}", escape_for_log(stored.name.substr(0, 120)),
      stored.shape.empty() ? "a single number" : fmt::format("{}", fmt::join(stored.shape, " x ")),
      expected);
}

TensorMaker::TensorMaker(const StoredTensor& stored, const HubShape& shape)
    : stored_(stored), shape_(shape) {
  const auto& from = stored.shape;
  if (!stored.dtype) return;
  size_ = info_of(*stored.dtype).block_bytes;
  for (size_t i = 0; i + 2 < from.size(); ++i) experts_ *= from[i];
  if (!from.empty()) rows_ = from[from.size() == 1 ? 0 : from.size() - 2];
  if (from.size() > 1) width_ = from.back();
  row_bytes_ = width_ * size_;
}

void TensorMaker::add(int64_t offset, int64_t run, std::vector<TensorPart::Axis> axes,
                      float factor) {
  axes.insert(axes.begin(), {experts_, rows_ * row_bytes_});
  TensorPart part = {.file = stored_.file,
                     .offset = stored_.offset + static_cast<uint64_t>(offset),
                     .dtype = *stored_.dtype,
                     .run = run,
                     .axes = std::move(axes),
                     .factor = factor};
  simplify(part);
  made_.parts.push_back(std::move(part));
}

absl::Status TensorMaker::permute(int64_t heads) {
  const int64_t dim = shape_.head_dim;
  if (stored_.shape.empty() || experts_ != 1 || dim % 2 != 0 || rows_ != heads * dim) {
    return not_shaped(stored_,
                      fmt::format("{} rows: {} heads of {} (even)", heads * dim, heads, dim));
  }
  add(0, width_, {{heads, dim * row_bytes_}, {dim / 2, row_bytes_}, {2, dim / 2 * row_bytes_}});
  return absl::OkStatus();
}

absl::Status TensorMaker::by_head() {
  const int64_t heads = shape_.heads, dim = shape_.head_dim;
  if (stored_.shape.empty() || experts_ != 1 || rows_ != 3 * heads * dim) {
    return not_shaped(stored_, fmt::format("{} rows: a query, key and value for each of {} heads",
                                           3 * heads * dim, heads));
  }
  add(0, dim * width_, {{3, dim * row_bytes_}, {heads, 3 * dim * row_bytes_}});
  return absl::OkStatus();
}

absl::Status TensorMaker::by_group() {
  const int64_t groups = shape_.kv_heads, dim = shape_.head_dim;
  const int64_t queries = shape_.heads / groups;
  if (stored_.shape.empty() || experts_ != 1 || rows_ != groups * (queries + 2) * dim) {
    return not_shaped(stored_,
                      fmt::format("{} rows: {} queries, a key and a value for each of {} key heads",
                                  groups * (queries + 2) * dim, queries, groups));
  }
  const TensorPart::Axis axis = {groups, (queries + 2) * dim * row_bytes_};
  add(0, queries * dim * width_, {axis});
  add(queries * dim * row_bytes_, dim * width_, {axis});
  add((queries + 1) * dim * row_bytes_, dim * width_, {axis});
  return absl::OkStatus();
}

absl::Status TensorMaker::half(int64_t which) {
  if (stored_.shape.empty() || rows_ % 2 != 0) {
    return not_shaped(stored_, "an even number of rows");
  }
  made_.shape[made_.shape.size() == 1 ? 0 : made_.shape.size() - 2] = rows_ / 2;
  add(which * rows_ / 2 * row_bytes_, rows_ / 2 * width_, {});
  return absl::OkStatus();
}

absl::Status TensorMaker::swap(int64_t first, int64_t count, int64_t step) {
  if (stored_.shape.size() < 2 || (count != width_ && width_ % 2 != 0)) {
    return not_shaped(stored_,
                      "at least two dimensions, of which the last is even where it is "
                      "two tensors");
  }
  made_.shape.back() = rows_;
  made_.shape[made_.shape.size() - 2] = count;
  add(first * size_, 1, {{count, step * size_}, {rows_, row_bytes_}});
  return absl::OkStatus();
}

absl::Status TensorMaker::every_other(int64_t first) {
  if (stored_.shape.empty() || stored_.shape.back() % 2 != 0) {
    return not_shaped(stored_, "a last dimension that is even");
  }
  made_.shape.back() /= 2;
  const bool is_vector = stored_.shape.size() == 1;
  const int64_t lines = is_vector ? 1 : rows_;
  add(first * size_, 1, {{lines, row_bytes_}, {made_.shape.back(), 2 * size_}});
  return absl::OkStatus();
}

absl::Status TensorMaker::row_of_each_token() {
  if (stored_.shape.size() != 2) return not_shaped(stored_, "two dimensions");
  const int64_t own = std::min(rows_, shape_.vocab);
  made_.shape[0] = shape_.vocab;
  add(0, own * width_, {});
  if (own < shape_.vocab) add(0, width_, {{shape_.vocab - own, 0}});
  return absl::OkStatus();
}

absl::StatusOr<MadeTensor> TensorMaker::make_mxfp4(const StoredTensor& scales,
                                                   Transform transform) {
  constexpr int64_t kBytes = 16, kElements = 32;
  const auto& from = stored_.shape;
  const bool fits = from.size() == 4 && from[3] == kBytes && stored_.type == "U8" &&
                    scales.type == "U8" && scales.file == stored_.file && stored_.bytes > 0 &&
                    std::ranges::equal(scales.shape, std::span(from).first(3));
  if (!fits) {
    return not_shaped(stored_,
                      "four dimensions of U8, the last of 16, with scales in the same "
                      "file whose dimensions are the others");
  }
  const int64_t step = transform == Transform::kMxfp4 ? 1 : 2;
  if (from[1] % step != 0) return not_shaped(stored_, "an even number of rows");
  const int64_t row = from[2] * kBytes;
  const int64_t first = transform == Transform::kMxfp4OddRows ? row : 0;
  made_.shape = {from[0], from[1] / step, from[2] * kElements};
  made_.parts.push_back({.file = stored_.file,
                         .offset = stored_.offset + static_cast<uint64_t>(first),
                         .dtype = DType::kMXFP4,
                         .run = from[2] * kElements,
                         .axes = {{from[0], from[1] * row}, {from[1] / step, step * row}},
                         .scales = scales.offset + static_cast<uint64_t>(first / kBytes)});
  return std::move(made_);
}

absl::Status TensorMaker::of_latents(bool keys) {
  const int64_t heads = shape_.heads, dim = shape_.plain_dim;
  const int64_t both = rows_ / heads;
  if (stored_.shape.size() != 2 || rows_ % heads != 0 || both <= dim) {
    return not_shaped(
        stored_, fmt::format("rows of a key of {} and a value for each of {} heads", dim, heads));
  }
  const TensorPart::Axis axis = {heads, both * row_bytes_};
  if (keys) {
    made_.shape = {heads, width_, dim};
    add(0, 1, {axis, {width_, size_}, {dim, row_bytes_}});
  } else {
    made_.shape = {heads, both - dim, width_};
    add(dim * row_bytes_, (both - dim) * width_, {axis});
  }
  return absl::OkStatus();
}

absl::Status TensorMaker::turned(int64_t heads) {
  const int64_t dim = shape_.head_dim;
  const int64_t plain = rows_ / heads - dim;
  if (stored_.shape.empty() || experts_ != 1 || dim % 2 != 0 || rows_ % heads != 0 || plain < 1) {
    return not_shaped(
        stored_, fmt::format("rows for {} heads, of which {} (even) rotate, not all", heads, dim));
  }
  for (int64_t head = 0; head < heads; ++head) {
    const int64_t first = head * (plain + dim) * row_bytes_;
    add(first, plain * width_, {});
    add(first + plain * row_bytes_, width_, {{dim / 2, row_bytes_}, {2, dim / 2 * row_bytes_}});
  }
  return absl::OkStatus();
}

void TensorMaker::squeeze() {
  if (stored_.shape.size() != 3 || rows_ != 1) return;
  rows_ = experts_;
  experts_ = 1;
  made_.shape = {rows_, width_};
}

absl::Status TensorMaker::groups() {
  const int64_t size = stored_.shape.empty() ? 0 : stored_.shape[0];
  if (stored_.shape.size() != 1 || size % shape_.groups != 0) {
    return not_shaped(stored_, fmt::format("a multiple of {} elements", shape_.groups));
  }
  made_.shape = {shape_.groups, size / shape_.groups};
  add(0, size, {});
  return absl::OkStatus();
}

absl::Status TensorMaker::mamba_in(int32_t factor) {
  const int64_t state = shape_.groups * shape_.state_dim;
  const int64_t sizes[] = {shape_.inner, shape_.inner, state, state, shape_.recurrent_heads};
  int64_t all = 0;
  for (const int64_t size : sizes) all += size;
  if (stored_.shape.empty() || experts_ != 1 || rows_ != all) {
    return not_shaped(stored_, fmt::format("{} rows: gates, inputs, B, C and steps", all));
  }
  int64_t first = 0;
  for (const int64_t size : sizes) {
    add(first * row_bytes_, size * width_, {}, shape_.factors[static_cast<size_t>(factor++)]);
    first += size;
  }
  return absl::OkStatus();
}

absl::Status TensorMaker::joined(bool gates) {
  const int64_t keys = shape_.state_dim, values = shape_.inner / shape_.groups;
  const int64_t rows = 2 * (keys + values);
  if (stored_.shape.size() != 2 || rows_ != shape_.groups * rows) {
    return not_shaped(stored_, fmt::format("{} rows: queries, keys, values and gates of {} heads",
                                           shape_.groups * rows, shape_.groups));
  }
  const TensorPart::Axis axis = {shape_.groups, rows * row_bytes_};
  if (gates) {
    made_.shape[0] = shape_.inner;
    add((2 * keys + values) * row_bytes_, values * width_, {axis});
    return absl::OkStatus();
  }
  made_.shape[0] = 2 * shape_.groups * keys + shape_.inner;
  add(0, keys * width_, {axis});
  add(keys * row_bytes_, keys * width_, {axis});
  add(2 * keys * row_bytes_, values * width_, {axis});
  return absl::OkStatus();
}

absl::Status TensorMaker::in_turn(int64_t skipped) {
  squeeze();
  const int64_t heads = shape_.recurrent_heads;
  const int64_t rows = rows_ - skipped;
  if (stored_.shape.empty() || experts_ != 1 || rows <= 0 || rows % heads != 0) {
    return not_shaped(stored_, fmt::format("rows of {} heads", heads));
  }
  const int64_t shared = heads / shape_.groups, dim = rows / heads;
  if (skipped > 0) add(0, skipped * width_, {});
  add(skipped * row_bytes_, dim * width_,
      {{shared, dim * row_bytes_}, {shape_.groups, shared * dim * row_bytes_}});
  return absl::OkStatus();
}

absl::Status TensorMaker::in_turn_columns() {
  const int64_t heads = shape_.recurrent_heads;
  if (stored_.shape.size() != 2 || width_ % heads != 0) {
    return not_shaped(stored_, fmt::format("columns of {} heads", heads));
  }
  const int64_t shared = heads / shape_.groups, dim = width_ / heads;
  add(0, dim, {{rows_, row_bytes_}, {shared, dim * size_}, {shape_.groups, shared * dim * size_}});
  return absl::OkStatus();
}

absl::Status TensorMaker::make_recurrent(Transform transform, int32_t factor) {
  switch (transform) {
    case Transform::kSqueezed:
      squeeze();
      add(0, rows_ * width_, {});
      return absl::OkStatus();
    case Transform::kColumn:
    case Transform::kNegatedExpColumn:
      made_.shape.push_back(1);
      add(0, rows_ * width_, {});
      return absl::OkStatus();
    case Transform::kGroups:
      return groups();
    case Transform::kMambaIn:
      return mamba_in(factor);
    case Transform::kJoinedQkv:
    case Transform::kJoinedGates:
      return joined(transform == Transform::kJoinedGates);
    case Transform::kInTurnColumns:
      return in_turn_columns();
    case Transform::kQkvInTurn:
      return in_turn(2 * shape_.groups * shape_.state_dim);
    default:
      return in_turn(0);
  }
}

absl::StatusOr<MadeTensor> TensorMaker::make(Transform transform, int32_t factor) {
  made_.shape = stored_.shape;
  absl::Status status;
  switch (transform) {
    case Transform::kCopy:
    case Transform::kPlusOne:
    case Transform::kNegatedExp:
    case Transform::kNone:
      add(0, rows_ * width_, {}, factor < 0 ? 1 : shape_.factors[static_cast<size_t>(factor)]);
      break;
    case Transform::kTurnedQueryRows:
    case Transform::kTurnedKeyRows:
      status = turned(transform == Transform::kTurnedKeyRows ? 1 : shape_.heads);
      break;
    case Transform::kLatentKeys:
    case Transform::kLatentValues:
      status = of_latents(transform == Transform::kLatentKeys);
      break;
    case Transform::kQueryRows:
      status = permute(shape_.heads);
      break;
    case Transform::kKeyRows:
      status = permute(shape_.kv_heads);
      break;
    case Transform::kSwapped:
      status = swap(0, width_, 1);
      break;
    case Transform::kQkvByHead:
      status = by_head();
      break;
    case Transform::kQkvByGroup:
      status = by_group();
      break;
    case Transform::kFirstHalf:
      status = half(0);
      break;
    case Transform::kSecondHalf:
      status = half(1);
      break;
    case Transform::kSwappedFirstHalf:
      status = swap(0, width_ / 2, 1);
      break;
    case Transform::kSwappedSecondHalf:
      status = swap(width_ / 2, width_ / 2, 1);
      break;
    case Transform::kSwappedEven:
      status = swap(0, width_ / 2, 2);
      break;
    case Transform::kSwappedOdd:
      status = swap(1, width_ / 2, 2);
      break;
    case Transform::kEven:
      status = every_other(0);
      break;
    case Transform::kOdd:
      status = every_other(1);
      break;
    case Transform::kWithoutTwoRows:
      if (stored_.shape.size() != 2 || rows_ < 3) return not_shaped(stored_, "more than two rows");
      made_.shape[0] = rows_ - 2;
      add(2 * row_bytes_, (rows_ - 2) * width_, {});
      break;
    case Transform::kRowOfEachToken:
      status = row_of_each_token();
      break;
    case Transform::kMxfp4:
    case Transform::kMxfp4EvenRows:
    case Transform::kMxfp4OddRows:
      return internal_error("blocks of '{}' without scales", stored_.name);
    default:
      status = make_recurrent(transform, factor);
  }
  RETURN_IF_ERROR(status);
  return std::move(made_);
}

}  // namespace millrace
