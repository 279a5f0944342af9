#include "files/hub/tensor_rules.h"

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "base/log.h"
#include "base/string_map.h"
#include "files/hub/tensor_maker.h"

namespace millrace {
namespace {

std::string shown_name(std::string_view name) { return escape_for_log(name.substr(0, 120)); }

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
    if (c == '*') return numbers;
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
  int32_t factor = -1;
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
  use.factor = rule.factor;
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

absl::Status check_can_be_read(const StoredTensor& stored) {
  if (!stored.dtype) {
    return unimplemented("tensor '{}' has element type {}, which is not supported",
                         shown_name(stored.name), stored.type);
  }
  constexpr size_t kRankMax = 4;
  if (stored.shape.size() > kRankMax || stored.bytes == 0) {
    return not_shaped(stored, "one to four dimensions that are not 0");
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
  const HubShape none;
  ASSIGN_OR_RETURN(MadeTensor made,
                   TensorMaker(*use.stored, none).make_mxfp4(*scales->second, use.transform));
  NamedTensor tensor = {.name = use.name};
  tensor.layout = {DType::kMXFP4, 3, {made.shape[0], made.shape[1], made.shape[2], 1}};
  tensor.parts = std::move(made.parts);
  return tensor;
}

bool is_negated_exp(Transform transform) {
  return transform == Transform::kNegatedExp || transform == Transform::kNegatedExpColumn ||
         transform == Transform::kInTurnNegatedExp;
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
    ASSIGN_OR_RETURN(MadeTensor made,
                     TensorMaker(stored, shape).make(uses[i].transform, uses[i].factor));
    std::ranges::move(made.parts, std::back_inserter(tensor.parts));
    dimensions = std::move(made.shape);
    if (is_stacked) dimensions.insert(dimensions.begin(), std::ssize(uses));
  }
  if (dimensions.size() > tensor.layout.shape.size()) {
    return not_shaped(first, "fewer dimensions");
  }
  tensor.layout.rank = static_cast<int32_t>(dimensions.size());
  std::ranges::copy(dimensions, tensor.layout.shape.begin());
  tensor.added = uses[0].transform == Transform::kPlusOne ? 1 : 0;
  tensor.negated_exp = is_negated_exp(uses[0].transform);
  const bool computes =
      tensor.added != 0 || tensor.negated_exp ||
      std::ranges::any_of(tensor.parts, [](const TensorPart& part) { return part.factor != 1; });
  tensor.layout.dtype =
      computes || is_always_f32(tensor.name, dimensions.size()) ? DType::kF32 : *first.dtype;
  if (tensor.parts.size() == 1 && tensor.parts[0].axes.empty() && !computes &&
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
         name.find("ffn_gate_inp") != std::string_view::npos ||
         name.find("conv1d") != std::string_view::npos ||
         name.find("altup_router") != std::string_view::npos || name.ends_with("_coef.weight") ||
         name.find("_lerp_") != std::string_view::npos || name.ends_with("shortconv.conv.weight") ||
         name == "position_embd.weight";
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
