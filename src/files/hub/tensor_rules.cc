#include "files/hub/tensor_rules.h"

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "base/log.h"
#include "base/string_map.h"

namespace millrace {
namespace {

std::string shown_name(std::string_view name) { return escape_for_log(name.substr(0, 120)); }

// A tensor, or some of its elements, on the way.
struct Made {
  std::vector<int64_t> shape;
  std::vector<TensorPart> parts;
};

struct Numbers {
  int64_t layer = -1;
  int64_t expert = -1;
};

// Takes digits from the front; nothing where there are none, or more than a count has.
std::optional<int64_t> take_number(std::string_view& text) {
  constexpr size_t kDigitsMax = 9;
  size_t digits = 0;
  int64_t number = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    if (digits == kDigitsMax) return std::nullopt;
    number = number * 10 + (text[digits] - '0');
  }
  if (digits == 0 || (digits > 1 && text[0] == '0')) return std::nullopt;
  text.remove_prefix(digits);
  return number;
}

std::optional<Numbers> match(std::string_view pattern, std::string_view name) {
  Numbers numbers;
  for (const char c : pattern) {
    if (c == '#' || c == '@') {
      const std::optional<int64_t> number = take_number(name);
      if (!number) return std::nullopt;
      (c == '#' ? numbers.layer : numbers.expert) = *number;
    } else {
      if (name.empty() || name.front() != c) return std::nullopt;
      name.remove_prefix(1);
    }
  }
  if (!name.empty()) return std::nullopt;
  return numbers;
}

// A stored tensor and a name that a rule gives to it.
struct Use {
  std::string name;
  Numbers numbers;
  int place = 0;     // of the rule
  int position = 1;  // in a file: before, within or after the layers
  Transform transform = Transform::kCopy;
  const StoredTensor* stored = nullptr;

  auto order() const {
    return std::tie(position, numbers.layer, place, name, numbers.expert, stored->name);
  }
};

std::optional<Use> apply(const TensorRule& rule, std::string_view name) {
  std::string_view suffix;
  std::optional<Numbers> numbers = match(rule.from, name);
  for (const std::string_view ending : {".weight", ".bias"}) {
    if (numbers || !name.ends_with(ending)) continue;
    suffix = ending;
    numbers = match(rule.from, name.substr(0, name.size() - ending.size()));
  }
  if (!numbers) return std::nullopt;
  Use use;
  use.numbers = *numbers;
  use.transform = rule.transform;
  for (const char c : rule.to) {
    if (c == '#') {
      use.name += std::to_string(numbers->layer);
    } else {
      use.name += c;
    }
  }
  use.name += suffix;
  if (numbers->layer < 0) use.position = use.name.starts_with("output") ? 2 : 0;
  return use;
}

using RuleLists = std::span<const std::span<const TensorRule>>;

bool add_uses(RuleLists lists, std::string_view name, const StoredTensor& stored,
              std::vector<Use>& uses) {
  int place = 0;
  for (const auto& list : lists) {
    const size_t before = uses.size();
    for (const TensorRule& rule : list) {
      ++place;
      std::optional<Use> use = apply(rule, name);
      if (!use) continue;
      use->place = place;
      use->stored = &stored;
      uses.push_back(*std::move(use));
    }
    if (uses.size() > before) return true;
  }
  return false;
}

absl::Status not_shaped(const StoredTensor& stored, std::string_view expected) {
  return invalid_argument(
      "tensor '{}' is {}, but must have {}", shown_name(stored.name),
      stored.shape.empty() ? "a single number" : fmt::format("{}", fmt::join(stored.shape, " x ")),
      expected);
}

// Merges axes into runs where that is the same.
void simplify(TensorPart& part) {
  std::erase_if(part.axes, [](const TensorPart::Axis& axis) { return axis.count == 1; });
  while (!part.axes.empty() && part.axes.back().stride == row_bytes(part.dtype, part.run)) {
    part.run *= part.axes.back().count;
    part.axes.pop_back();
  }
}

// Makes parts of one stored tensor, of the shape [experts, rows, width], or without the first or
// the last.
class Maker {
 public:
  Maker(const StoredTensor& stored, const HubShape& shape) : stored_(stored), shape_(shape) {
    const auto& from = stored.shape;
    if (!stored.dtype) return;
    size_ = info_of(*stored.dtype).block_bytes;
    if (from.size() == 3) experts_ = from[0];
    if (!from.empty()) rows_ = from[from.size() == 1 ? 0 : from.size() - 2];
    if (from.size() > 1) width_ = from.back();
    row_bytes_ = width_ * size_;
  }

  absl::StatusOr<Made> make(Transform transform);
  // Of blocks, [experts, rows, blocks, 16], and their scales.
  absl::StatusOr<Made> make_mxfp4(const StoredTensor& scales, Transform transform);

 private:
  // Where `width` and `rows` of one expert are as given, and all experts are made alike.
  void add(int64_t offset, int64_t run, std::vector<TensorPart::Axis> axes) {
    axes.insert(axes.begin(), {experts_, rows_ * row_bytes_});
    TensorPart part = {.file = stored_.file,
                       .offset = stored_.offset + static_cast<uint64_t>(offset),
                       .dtype = *stored_.dtype,
                       .run = run,
                       .axes = std::move(axes)};
    simplify(part);
    made_.parts.push_back(std::move(part));
  }
  absl::Status permute(int64_t heads);
  absl::Status by_head();
  absl::Status by_group();
  absl::Status half(int64_t which);
  absl::Status swap(int64_t first, int64_t count, int64_t step);
  absl::Status every_other(int64_t first);
  absl::Status of_latents(bool keys);

  const StoredTensor& stored_;
  const HubShape& shape_;
  int64_t experts_ = 1, rows_ = 1, width_ = 1;
  int64_t size_ = 0, row_bytes_ = 0;
  Made made_;
};

absl::Status Maker::permute(int64_t heads) {
  const int64_t dim = shape_.head_dim;
  if (stored_.shape.empty() || experts_ != 1 || dim % 2 != 0 || rows_ != heads * dim) {
    return not_shaped(stored_,
                      fmt::format("{} rows: {} heads of {} (even)", heads * dim, heads, dim));
  }
  add(0, width_, {{heads, dim * row_bytes_}, {dim / 2, row_bytes_}, {2, dim / 2 * row_bytes_}});
  return absl::OkStatus();
}

absl::Status Maker::by_head() {
  const int64_t heads = shape_.heads, dim = shape_.head_dim;
  if (stored_.shape.empty() || experts_ != 1 || rows_ != 3 * heads * dim) {
    return not_shaped(stored_, fmt::format("{} rows: a query, key and value for each of {} heads",
                                           3 * heads * dim, heads));
  }
  add(0, dim * width_, {{3, dim * row_bytes_}, {heads, 3 * dim * row_bytes_}});
  return absl::OkStatus();
}

absl::Status Maker::by_group() {
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

absl::Status Maker::half(int64_t which) {
  if (stored_.shape.empty() || rows_ % 2 != 0) {
    return not_shaped(stored_, "an even number of rows");
  }
  made_.shape[made_.shape.size() == 1 ? 0 : made_.shape.size() - 2] = rows_ / 2;
  add(which * rows_ / 2 * row_bytes_, rows_ / 2 * width_, {});
  return absl::OkStatus();
}

absl::Status Maker::swap(int64_t first, int64_t count, int64_t step) {
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

absl::Status Maker::every_other(int64_t first) {
  if (stored_.shape.empty() || stored_.shape.back() % 2 != 0) {
    return not_shaped(stored_, "a last dimension that is even");
  }
  made_.shape.back() /= 2;
  const bool is_vector = stored_.shape.size() == 1;
  const int64_t lines = is_vector ? 1 : rows_;
  add(first * size_, 1, {{lines, row_bytes_}, {made_.shape.back(), 2 * size_}});
  return absl::OkStatus();
}

absl::Status Maker::of_latents(bool keys) {
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

absl::StatusOr<Made> Maker::make_mxfp4(const StoredTensor& scales, Transform transform) {
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

absl::StatusOr<Made> Maker::make(Transform transform) {
  made_.shape = stored_.shape;
  absl::Status status;
  switch (transform) {
    case Transform::kCopy:
    case Transform::kPlusOne:
    case Transform::kNone:
      add(0, rows_ * width_, {});
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
    case Transform::kLatentKeys:
      status = of_latents(true);
      break;
    case Transform::kLatentValues:
      status = of_latents(false);
      break;
    case Transform::kMxfp4:
    case Transform::kMxfp4EvenRows:
    case Transform::kMxfp4OddRows:
      return internal_error("blocks of '{}' without scales", stored_.name);
  }
  RETURN_IF_ERROR(status);
  return std::move(made_);
}

absl::Status check_can_be_read(const StoredTensor& stored) {
  if (!stored.dtype) {
    return unimplemented("tensor '{}' has element type {}, which is not supported",
                         shown_name(stored.name), stored.type);
  }
  constexpr size_t kRankMax = 3;
  if (stored.shape.size() > kRankMax || stored.bytes == 0) {
    return not_shaped(stored, "one to three dimensions that are not 0");
  }
  return absl::OkStatus();
}

using StoredByName = StringViewMap<const StoredTensor*>;

bool is_mxfp4(Transform transform) {
  return transform == Transform::kMxfp4 || transform == Transform::kMxfp4EvenRows ||
         transform == Transform::kMxfp4OddRows;
}

absl::StatusOr<NamedTensor> make_mxfp4(const Use& use, const StoredByName& all) {
  constexpr std::string_view kBlocks = "_blocks";
  const std::string& name = use.stored->name;
  const std::string partner = name.substr(0, name.size() - kBlocks.size()) + "_scales";
  const auto scales = all.find(partner);
  if (scales == all.end()) return not_found("tensor '{}' is missing", shown_name(partner));
  ASSIGN_OR_RETURN(Made made, Maker(*use.stored, {}).make_mxfp4(*scales->second, use.transform));
  NamedTensor tensor = {.name = use.name};
  tensor.layout = {DType::kMXFP4, 3, {made.shape[0], made.shape[1], made.shape[2], 1}};
  tensor.parts = std::move(made.parts);
  return tensor;
}

// uses: all that make one tensor, in the order of experts.
absl::StatusOr<NamedTensor> make_tensor(std::span<const Use> uses, const StoredByName& all,
                                        const HubShape& shape) {
  if (uses.size() == 1 && is_mxfp4(uses[0].transform)) return make_mxfp4(uses[0], all);
  NamedTensor tensor = {.name = uses[0].name};
  const StoredTensor& first = *uses[0].stored;
  std::vector<int64_t> dimensions;
  for (size_t i = 0; i < uses.size(); ++i) {
    const StoredTensor& stored = *uses[i].stored;
    RETURN_IF_ERROR(check_can_be_read(stored));
    const bool is_stacked = uses[i].numbers.expert >= 0;
    if (uses.size() > 1 && !is_stacked) {
      return invalid_argument("tensors '{}' and '{}' are the same of the model",
                              shown_name(first.name), shown_name(stored.name));
    }
    if (is_stacked && uses[i].numbers.expert != static_cast<int64_t>(i)) {
      return invalid_argument("tensor '{}' is of number {}, but number {} is missing",
                              shown_name(stored.name), uses[i].numbers.expert, i);
    }
    if (stored.shape != first.shape || stored.dtype != first.dtype) {
      return invalid_argument("tensors '{}' and '{}' differ in shape or type",
                              shown_name(first.name), shown_name(stored.name));
    }
    ASSIGN_OR_RETURN(Made made, Maker(stored, shape).make(uses[i].transform));
    std::ranges::move(made.parts, std::back_inserter(tensor.parts));
    dimensions = std::move(made.shape);
    if (is_stacked) dimensions.insert(dimensions.begin(), std::ssize(uses));
  }
  if (dimensions.size() > tensor.layout.shape.size()) {
    return not_shaped(first, "fewer dimensions");
  }
  tensor.layout.rank = static_cast<int32_t>(dimensions.size());
  std::ranges::copy(dimensions, tensor.layout.shape.begin());
  const bool adds = uses[0].transform == Transform::kPlusOne;
  tensor.added = adds ? 1 : 0;
  tensor.layout.dtype =
      adds || is_always_f32(tensor.name, dimensions.size()) ? DType::kF32 : *first.dtype;
  if (tensor.parts.size() == 1 && tensor.parts[0].axes.empty() && !adds &&
      tensor.layout.dtype == *first.dtype) {
    tensor.file = tensor.parts[0].file;
    tensor.file_offset = tensor.parts[0].offset;
    tensor.parts.clear();
  }
  return tensor;
}

}  // namespace

bool is_always_f32(std::string_view name, size_t rank) {
  return rank <= 1 || !name.ends_with(".weight") || name.ends_with("_norm.weight") ||
         name.find("ffn_gate_inp") != std::string_view::npos || name == "position_embd.weight";
}

absl::StatusOr<std::vector<NamedTensor>> apply_rules(std::span<const StoredTensor> stored,
                                                     RuleLists lists, const HubShape& shape) {
  std::vector<Use> uses;
  for (const StoredTensor& tensor : stored) {
    // Files of a model without its head leave out the first part of each name.
    if (add_uses(lists, tensor.name, tensor, uses) ||
        add_uses(lists, "model." + tensor.name, tensor, uses) ||
        add_uses(lists, "transformer." + tensor.name, tensor, uses)) {
      if (uses.back().numbers.layer < shape.layers + shape.predictors) continue;
      return invalid_argument("tensor '{}' is of layer {}, but config.json says {} layers",
                              shown_name(tensor.name), uses.back().numbers.layer, shape.layers);
    }
    return unimplemented(
        "tensor '{}': Millrace does not know it, and it may change the model's answers",
        shown_name(tensor.name));
  }
  std::erase_if(uses, [&](const Use& use) {
    return use.transform == Transform::kNone || use.numbers.layer >= shape.layers;
  });
  std::ranges::sort(uses, {}, &Use::order);
  StoredByName by_name;
  for (const StoredTensor& tensor : stored) by_name.emplace(tensor.name, &tensor);
  std::vector<NamedTensor> tensors;
  for (size_t begin = 0, end = 0; begin < uses.size(); begin = end) {
    while (end < uses.size() && uses[end].name == uses[begin].name) ++end;
    ASSIGN_OR_RETURN(tensors.emplace_back(),
                     make_tensor(std::span(uses).subspan(begin, end - begin), by_name, shape));
  }
  return tensors;
}

}  // namespace millrace
