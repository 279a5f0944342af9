#include "chat/jinja/values/value.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <absl/hash/hash.h>

#include "chat/jinja/values/operators.h"
#include "chat/jinja/values/text.h"

namespace millrace::jinja {

namespace {
constexpr ByteRange kEverything{0, std::numeric_limits<size_t>::max()};
}  // namespace

const Marks kAllWritten{{&kEverything, 1}};

Text make_view(std::string_view bytes) {
  return {.data = bytes.data(), .size = static_cast<uint32_t>(bytes.size())};
}

const Value* Dict::find(std::string_view key) const { return find(Value(make_view(key))); }

const Value* Dict::find(const Value& key) const {
  if (slots.empty()) {
    for (const Entry& entry : entries) {
      if (keys_equal(entry.key, key)) return &entry.value;
    }
    return nullptr;
  }
  const size_t mask = slots.size() - 1;
  for (size_t at = hash_of(key) & mask; slots[at] >= 0; at = (at + 1) & mask) {
    const Entry& entry = entries[static_cast<size_t>(slots[at])];
    if (keys_equal(entry.key, key)) return &entry.value;
  }
  return nullptr;
}

int64_t Range::size() const {
  const auto span = [](int64_t low, int64_t high, uint64_t by) {
    const uint64_t distance = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
    return static_cast<int64_t>((distance - 1) / by + 1);
  };
  if (step > 0 && start < stop) return span(start, stop, static_cast<uint64_t>(step));
  if (step < 0 && start > stop) return span(stop, start, 0 - static_cast<uint64_t>(step));
  return 0;
}

Value* Namespace::find(std::string_view name) {
  for (Attribute* at = first; at != nullptr; at = at->next) {
    if (at->name.view() == name) return &at->value;
  }
  return nullptr;
}

bool is_undefined(const Value& value) { return std::holds_alternative<Undefined>(value); }
bool is_none(const Value& value) { return std::holds_alternative<None>(value); }
const Text* as_text(const Value& value) { return std::get_if<Text>(&value); }

bool is_integer(const Value& value) {
  return std::holds_alternative<bool>(value) || std::holds_alternative<int64_t>(value);
}

bool is_number(const Value& value) {
  return is_integer(value) || std::holds_alternative<double>(value);
}

int64_t integer_of(const Value& value) {
  if (const bool* flag = std::get_if<bool>(&value)) return *flag ? 1 : 0;
  return std::get<int64_t>(value);
}

double number_of(const Value& value) {
  if (const double* number = std::get_if<double>(&value)) return *number;
  return static_cast<double>(integer_of(value));
}

namespace {

// In the order of Value's alternatives, as Python and as jinja2 name them.
struct TypeNames {
  std::string_view type;
  const char* owner;
};
constexpr TypeNames kTypeNames[] = {
    {"Undefined", "Undefined"},        {"NoneType", "None"},
    {"bool", "bool object"},           {"int", "int object"},
    {"float", "float object"},         {"str", "str object"},
    {"list", "list object"},           {"dict", "dict object"},
    {"range", "range object"},         {"generator", "iterator object"},
    {"Namespace", "namespace object"}, {"LoopContext", "loop object"},
    {"function", "function object"},
};
static_assert(std::size(kTypeNames) == std::variant_size_v<Value>);
constexpr std::string_view kIteratorNames[] = {"generator", "list_reverseiterator", "dict_keys",
                                               "dict_values", "dict_items"};

bool is_tuple(const Value& value) {
  const auto* list = std::get_if<const List*>(&value);
  return list != nullptr && (*list)->is_tuple;
}

}  // namespace

std::string_view type_name(const Value& value) {
  if (is_tuple(value)) return "tuple";
  if (const Text* text = as_text(value); text != nullptr && text->is_markup) return "Markup";
  if (auto* const* it = std::get_if<Iterator*>(&value)) {
    return kIteratorNames[static_cast<size_t>((*it)->type)];
  }
  return kTypeNames[value.index()].type;
}

const char* owner_name(const Value& value) {
  return is_tuple(value) ? "tuple object" : kTypeNames[value.index()].owner;
}

namespace {

// -1, 0, 1, or 2 where a NaN has no place. Exact: an integer beyond 2^53 is not rounded.
int compare_numbers(const Value& left, const Value& right) {
  const auto sign = [](auto a, auto b) { return a < b ? -1 : a > b ? 1 : a == b ? 0 : 2; };
  if (is_integer(left) && is_integer(right)) return sign(integer_of(left), integer_of(right));
  if (!is_integer(left) && !is_integer(right)) return sign(number_of(left), number_of(right));
  const bool is_left = is_integer(left);
  const double number = number_of(is_left ? right : left);
  if (std::isnan(number)) return 2;
  int order = number > 0 ? -1 : 1;
  if (number >= -0x1p63 && number < 0x1p63) {
    order = sign(integer_of(is_left ? left : right), static_cast<int64_t>(number));
    if (order == 0) order = sign(std::trunc(number), number);
  }
  return is_left ? order : -order;
}

absl::StatusOr<bool> equal_items(Workspace& work, std::span<const Value> left,
                                 std::span<const Value> right) {
  if (left.size() != right.size()) return false;
  for (size_t i = 0; i < left.size(); ++i) {
    RETURN_IF_ERROR(work.spend());
    ASSIGN_OR_RETURN(const bool same, equal(work, left[i], right[i]));
    if (!same) return false;
  }
  return true;
}

absl::StatusOr<bool> equal_dicts(Workspace& work, const Dict& left, const Dict& right) {
  if (left.entries.size() != right.entries.size()) return false;
  for (const Entry& entry : left.entries) {
    RETURN_IF_ERROR(expect_key(work, entry.key));
    RETURN_IF_ERROR(work.spend(2));
    const Value* other = right.find(entry.key);
    if (other == nullptr) return false;
    ASSIGN_OR_RETURN(const bool same, equal(work, entry.value, *other));
    if (!same) return false;
  }
  return true;
}

bool is_view(const Value& value) {
  auto* const* it = std::get_if<Iterator*>(&value);
  return it != nullptr && (*it)->is_view();
}

absl::Status no_view_comparison() {
  return unimplemented("comparing views of dicts is not supported");
}

bool equal_ranges(const Range& left, const Range& right) {
  const int64_t size = left.size();
  if (size != right.size()) return false;
  return size == 0 || (left.start == right.start && (size == 1 || left.step == right.step));
}

absl::StatusOr<bool> less_items(Workspace& work, std::span<const Value> left,
                                std::span<const Value> right, std::string_view sign) {
  for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
    ASSIGN_OR_RETURN(const bool same, equal(work, left[i], right[i]));
    if (!same) return less(work, left[i], right[i], sign);
  }
  return left.size() < right.size();
}

bool is_hashable_leaf(const Value& value) {
  // Views compare by what they hold, which may change in Python.
  return !is_view(value) && !std::holds_alternative<const List*>(value) &&
         !std::holds_alternative<const Dict*>(value) &&
         !std::holds_alternative<const Range*>(value);
}

}  // namespace

bool is_true(const Value& value) {
  struct Truth {
    bool operator()(const Undefined&) { return false; }
    bool operator()(const None&) { return false; }
    bool operator()(bool flag) { return flag; }
    bool operator()(int64_t number) { return number != 0; }
    bool operator()(double number) { return number != 0; }
    bool operator()(const Text& text) { return text.size != 0; }
    bool operator()(const List* list) { return !list->items.empty(); }
    bool operator()(const Dict* dict) { return !dict->entries.empty(); }
    bool operator()(const Range* range) { return range->size() != 0; }
    bool operator()(const Iterator* it) { return !it->is_view() || !it->items.empty(); }
    bool operator()(const Namespace*) { return true; }
    bool operator()(const Loop*) { return true; }
    bool operator()(const Callable*) { return true; }
  };
  return std::visit(Truth{}, value);
}

absl::StatusOr<bool> equal(Workspace& work, const Value& left, const Value& right) {
  if (is_number(left) && is_number(right)) return compare_numbers(left, right) == 0;
  if (left.index() != right.index()) return false;
  if (const Text* text = as_text(left)) {
    const std::string_view other = std::get<Text>(right).view();
    if (text->size == other.size()) RETURN_IF_ERROR(work.spend_bytes(other.size(), 512));
    return text->view() == other;
  }
  if (is_undefined(left) || is_none(left)) return true;
  RETURN_IF_ERROR(work.spend());
  const Workspace::Level level(work);
  RETURN_IF_ERROR(level.check());
  if (const auto* list = std::get_if<const List*>(&left)) {
    const List& other = *std::get<const List*>(right);
    if ((*list)->is_tuple != other.is_tuple) return false;
    return equal_items(work, (*list)->items, other.items);
  }
  if (const auto* dict = std::get_if<const Dict*>(&left)) {
    return equal_dicts(work, **dict, *std::get<const Dict*>(right));
  }
  if (const auto* range = std::get_if<const Range*>(&left)) {
    return equal_ranges(**range, *std::get<const Range*>(right));
  }
  if (is_view(left) && is_view(right)) return no_view_comparison();
  return keys_equal(left, right);
}

absl::StatusOr<bool> less(Workspace& work, const Value& left, const Value& right,
                          std::string_view sign) {
  RETURN_IF_ERROR(work.spend());
  for (const Value* side : {&left, &right}) {
    if (is_undefined(*side)) return undefined_error(*side);
  }
  if (is_number(left) && is_number(right)) return compare_numbers(left, right) == -1;
  const Text* text = as_text(left);
  const Text* other_text = as_text(right);
  if (text != nullptr && other_text != nullptr) {
    RETURN_IF_ERROR(work.spend_bytes(std::min(text->size, other_text->size), 512));
    return text->view() < other_text->view();
  }
  const auto* list = std::get_if<const List*>(&left);
  const auto* other = std::get_if<const List*>(&right);
  if (list != nullptr && other != nullptr && (*list)->is_tuple == (*other)->is_tuple) {
    const Workspace::Level level(work);
    RETURN_IF_ERROR(level.check());
    return less_items(work, (*list)->items, (*other)->items, sign);
  }
  if (is_view(left) && is_view(right)) return no_view_comparison();
  return invalid_argument("'{}' cannot order {} and {}", sign, type_name(left), type_name(right));
}

absl::StatusOr<bool> less_or_equal(Workspace& work, const Value& left, const Value& right,
                                   std::string_view sign) {
  ASSIGN_OR_RETURN(const bool is_less, less(work, left, right, sign));
  if (is_less) return true;
  return equal(work, left, right);
}

absl::StatusOr<bool> compare(Workspace& work, CompareOp op, const Value& left, const Value& right) {
  switch (op) {
    case CompareOp::kEqual:
      return equal(work, left, right);
    case CompareOp::kNotEqual: {
      ASSIGN_OR_RETURN(const bool same, equal(work, left, right));
      return !same;
    }
    case CompareOp::kLess:
      return less(work, left, right, "<");
    case CompareOp::kGreater:
      return less(work, right, left, ">");
    case CompareOp::kLessEqual:
      return less_or_equal(work, left, right, "<=");
    case CompareOp::kGreaterEqual:
      return less_or_equal(work, right, left, ">=");
    case CompareOp::kIn:
      return contains(work, right, left);
    case CompareOp::kNotIn: {
      ASSIGN_OR_RETURN(const bool is_in, contains(work, right, left));
      return !is_in;
    }
  }
  return false;
}

absl::StatusOr<bool> contains(Workspace& work, const Value& container, const Value& item) {
  if (const Text* text = as_text(container)) {
    const Text* part = as_text(item);
    if (part == nullptr) {
      return invalid_argument("'in' needs a string on the left of a string, got {}",
                              type_name(item));
    }
    RETURN_IF_ERROR(work.spend_bytes(size_t{text->size} + part->size, kSearchedBytesPerStep));
    return find_bytes(text->view(), part->view(), 0) != std::string_view::npos;
  }
  if (const auto* dict = std::get_if<const Dict*>(&container)) {
    RETURN_IF_ERROR(expect_key(work, item));
    return (*dict)->find(item) != nullptr;
  }
  if (is_undefined(container)) return false;
  std::span<const Value> items;
  const Iterator::Failure* failure = nullptr;
  auto* const* it = std::get_if<Iterator*>(&container);
  if (const auto* list = std::get_if<const List*>(&container)) {
    items = (*list)->items;
  } else if (std::holds_alternative<const Range*>(container)) {
    ASSIGN_OR_RETURN(items, items_of(work, container));
  } else if (it == nullptr) {
    return invalid_argument("'in' cannot look into {}", type_name(container));
  } else if (!(*it)->is_spent) {
    items = (*it)->items;
    failure = (*it)->failure;
  }
  const bool looks_for_key = it != nullptr && (*it)->type == Iterator::Type::kKeys;
  if (looks_for_key) RETURN_IF_ERROR(expect_key(work, item));
  const bool consumes = it != nullptr && !(*it)->is_view();
  for (const Value& each : items) {
    RETURN_IF_ERROR(work.spend());
    if (consumes) (*it)->items = (*it)->items.subspan(1);
    ASSIGN_OR_RETURN(const bool same, equal(work, each, item));
    if (same) return true;
  }
  if (failure != nullptr) return absl::Status(failure->code, to_absl(failure->message));
  return false;
}

absl::StatusOr<bool> can_be_key(Workspace& work, const Value& value) {
  if (const Text* text = as_text(value)) {
    RETURN_IF_ERROR(work.spend_bytes(text->size));
    return true;
  }
  const auto* list = std::get_if<const List*>(&value);
  if (list == nullptr || !(*list)->is_tuple) return is_hashable_leaf(value);
  const Workspace::Level level(work);
  RETURN_IF_ERROR(level.check());
  for (const Value& item : (*list)->items) {
    // A small dict compares a key with each of its own.
    RETURN_IF_ERROR(work.spend(3));
    ASSIGN_OR_RETURN(const bool is_key, can_be_key(work, item));
    if (!is_key) return false;
  }
  return true;
}

absl::Status expect_key(Workspace& work, const Value& value) {
  ASSIGN_OR_RETURN(const bool is_key, can_be_key(work, value));
  if (is_key) return absl::OkStatus();
  return invalid_argument("{} cannot be a key", type_name(value));
}

namespace {

// Equal numbers are equal as doubles, and an integer that is none equals no double.
size_t hash_of_number(const Value& key) {
  constexpr int64_t kExactMax = int64_t{1} << 53;
  const double number = number_of(key);
  if (!is_integer(key) || std::abs(number) <= kExactMax || std::abs(number) >= 0x1p63 ||
      static_cast<int64_t>(number) == integer_of(key)) {
    return absl::HashOf(number);
  }
  return absl::HashOf(integer_of(key));
}

}  // namespace

// Seeded anew in every process, so that no file can bring keys that collide.
size_t hash_of(const Value& key) {
  if (is_number(key)) return hash_of_number(key);
  if (const Text* text = as_text(key)) return absl::HashOf(to_absl(text->view()));
  if (const auto* list = std::get_if<const List*>(&key)) {
    size_t hash = (*list)->items.size();
    for (const Value& item : (*list)->items) hash = absl::HashOf(hash, hash_of(item));
    return hash;
  }
  return std::visit(
      [](const auto& held) {
        if constexpr (std::is_pointer_v<std::decay_t<decltype(held)>>) return absl::HashOf(held);
        return size_t{0};  // Undefined, None
      },
      key);
}

bool keys_equal(const Value& left, const Value& right) {
  if (is_number(left) && is_number(right)) return compare_numbers(left, right) == 0;
  if (left.index() != right.index()) return false;
  if (const Text* text = as_text(left)) return text->view() == std::get<Text>(right).view();
  if (const auto* list = std::get_if<const List*>(&left)) {
    const List& other = *std::get<const List*>(right);
    return (*list)->is_tuple == other.is_tuple &&
           std::equal((*list)->items.begin(), (*list)->items.end(), other.items.begin(),
                      other.items.end(), keys_equal);
  }
  return std::visit(
      [&](const auto& held) {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::is_pointer_v<Held>) return held == std::get<Held>(right);
        return true;  // Undefined, None
      },
      left);
}

}  // namespace millrace::jinja
