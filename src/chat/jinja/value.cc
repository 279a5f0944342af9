#include "chat/jinja/value.h"

#include <algorithm>
#include <limits>

#include "chat/jinja/bigint.h"
#include "chat/jinja/compare.h"

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

bool fits_int64(const Value& value) {
  return std::holds_alternative<bool>(value) || std::holds_alternative<int64_t>(value);
}

bool is_integer(const Value& value) {
  return fits_int64(value) || std::holds_alternative<const Big*>(value);
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
  if (const auto* big = std::get_if<const Big*>(&value)) {
    return BigInt((*big)->limbs, (*big)->is_negative).to_double();
  }
  return static_cast<double>(integer_of(value));
}

std::string_view type_name(const Value& value) {
  struct Name {
    std::string_view operator()(const Undefined&) { return "Undefined"; }
    std::string_view operator()(const None&) { return "NoneType"; }
    std::string_view operator()(bool) { return "bool"; }
    std::string_view operator()(int64_t) { return "int"; }
    std::string_view operator()(const Big*) { return "int"; }
    std::string_view operator()(double) { return "float"; }
    std::string_view operator()(const Text& text) { return text.is_markup ? "Markup" : "str"; }
    std::string_view operator()(const List* list) { return list->is_tuple ? "tuple" : "list"; }
    std::string_view operator()(const Dict*) { return "dict"; }
    std::string_view operator()(const Range*) { return "range"; }
    std::string_view operator()(const Iterator* it) {
      switch (it->type) {
        case Iterator::Type::kGenerator:
          return "generator";
        case Iterator::Type::kReversed:
          return "list_reverseiterator";
        case Iterator::Type::kKeys:
          return "dict_keys";
        case Iterator::Type::kValues:
          return "dict_values";
        case Iterator::Type::kItems:
          return "dict_items";
      }
      return {};
    }
    std::string_view operator()(const Namespace*) { return "Namespace"; }
    std::string_view operator()(const Loop*) { return "LoopContext"; }
    std::string_view operator()(const Callable*) { return "function"; }
    std::string_view operator()(const Cycler*) { return "Cycler"; }
  };
  return std::visit(Name{}, value);
}

const char* owner_name(const Value& value) {
  struct Name {
    const char* operator()(const Undefined&) { return "Undefined"; }
    const char* operator()(const None&) { return "None"; }
    const char* operator()(bool) { return "bool object"; }
    const char* operator()(int64_t) { return "int object"; }
    const char* operator()(const Big*) { return "int object"; }
    const char* operator()(double) { return "float object"; }
    const char* operator()(const Text&) { return "str object"; }
    const char* operator()(const List* list) {
      return list->is_tuple ? "tuple object" : "list object";
    }
    const char* operator()(const Dict*) { return "dict object"; }
    const char* operator()(const Range*) { return "range object"; }
    const char* operator()(const Iterator*) { return "iterator object"; }
    const char* operator()(const Namespace*) { return "namespace object"; }
    const char* operator()(const Loop*) { return "loop object"; }
    const char* operator()(const Callable*) { return "function object"; }
    const char* operator()(const Cycler*) { return "cycler object"; }
  };
  return std::visit(Name{}, value);
}

}  // namespace millrace::jinja
