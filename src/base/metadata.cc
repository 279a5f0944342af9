#include "base/metadata.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

namespace millrace {
namespace {

template <typename T>
absl::StatusOr<T> or_fallback(absl::StatusOr<T> value, T fallback) {
  if (absl::IsNotFound(value.status())) return fallback;
  return value;
}

absl::Status wrong_type(std::string_view key, const MetaValue& value, std::string_view wanted) {
  return invalid_argument("metadata key '{}' is {}, expected {}", key, name_of(value.type), wanted);
}

template <typename T>
auto widen(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<double>(value);
  } else {
    return static_cast<int64_t>(value);  // u64 wraps, as MetaValue says
  }
}

// The array's values as `Element`s; nothing where the value is anything else.
template <typename Element>
std::optional<std::vector<Element>> array_of(const MetaValue& value) {
  const auto* array = std::get_if<MetaArray>(&value.value);
  if (array == nullptr) return std::nullopt;
  auto values = array->first(array->size());
  auto* const elements = std::get_if<std::vector<Element>>(&values);
  if (elements == nullptr) return std::nullopt;
  return std::move(*elements);
}

}  // namespace

std::string_view name_of(MetaType type) {
  switch (type) {
    case MetaType::kU8:
      return "u8";
    case MetaType::kI8:
      return "i8";
    case MetaType::kU16:
      return "u16";
    case MetaType::kI16:
      return "i16";
    case MetaType::kU32:
      return "u32";
    case MetaType::kI32:
      return "i32";
    case MetaType::kF32:
      return "f32";
    case MetaType::kBool:
      return "bool";
    case MetaType::kString:
      return "string";
    case MetaType::kArray:
      return "array";
    case MetaType::kU64:
      return "u64";
    case MetaType::kI64:
      return "i64";
    case MetaType::kF64:
      return "f64";
  }
  return "unknown";
}

int64_t MetaArray::size() const {
  if (const auto* texts = std::get_if<std::vector<std::string_view>>(&values)) {
    return std::ssize(*texts);
  }
  const auto bytes = std::ssize(std::get<std::span<const std::byte>>(values));
  return visit_number_type(element, [bytes]<typename T>(std::type_identity<T>) -> int64_t {
    return bytes / static_cast<int64_t>(sizeof(T));
  });
}

std::variant<std::vector<std::string_view>, std::vector<int64_t>, std::vector<double>>
MetaArray::first(int64_t count) const {
  using Elements = decltype(first(count));
  const int64_t taken = std::min(count, size());
  if (const auto* texts = std::get_if<std::vector<std::string_view>>(&values)) {
    return std::vector<std::string_view>(texts->begin(), texts->begin() + taken);
  }
  const std::byte* bytes = std::get<std::span<const std::byte>>(values).data();
  return visit_number_type(element, [&]<typename T>(std::type_identity<T>) -> Elements {
    std::vector<decltype(widen(T()))> numbers(static_cast<size_t>(taken));
    for (auto& number : numbers) {
      T value;
      std::memcpy(&value, bytes, sizeof(T));
      number = widen(value);
      bytes += sizeof(T);
    }
    return numbers;
  });
}

const MetaValue* Metadata::find(std::string_view key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &entries_[found->second].second;
}

// Looks `key` up or returns NOT_FOUND from the enclosing function.
#define FIND_OR_RETURN(value, key)    \
  const MetaValue* value = find(key); \
  if (value == nullptr) return not_found("metadata key '{}' is missing", key)

absl::StatusOr<int64_t> Metadata::integer(std::string_view key, int64_t min, int64_t max) const {
  FIND_OR_RETURN(value, key);
  const auto* integer = std::get_if<int64_t>(&value->value);
  if (integer == nullptr || value->type == MetaType::kBool) {
    return wrong_type(key, *value, "an integer");
  }
  const bool wrapped = value->type == MetaType::kU64 && *integer < 0;
  if (wrapped || *integer < min || *integer > max) {
    return invalid_argument("metadata key '{}' is {}, expected {} to {}", key,
                            wrapped ? "beyond 63 bits" : fmt::to_string(*integer), min, max);
  }
  return *integer;
}

absl::StatusOr<double> Metadata::number(std::string_view key) const {
  FIND_OR_RETURN(value, key);
  if (const auto* real = std::get_if<double>(&value->value)) {
    if (!std::isfinite(*real)) return invalid_argument("metadata key '{}' is not finite", key);
    return *real;
  }
  const auto* integer = std::get_if<int64_t>(&value->value);
  if (integer == nullptr || value->type == MetaType::kBool)
    return wrong_type(key, *value, "a number");
  return static_cast<double>(*integer);
}

absl::StatusOr<bool> Metadata::boolean(std::string_view key) const {
  FIND_OR_RETURN(value, key);
  if (value->type != MetaType::kBool) return wrong_type(key, *value, "a bool");
  return std::get<int64_t>(value->value) != 0;
}

absl::StatusOr<std::string_view> Metadata::string(std::string_view key) const {
  FIND_OR_RETURN(value, key);
  const auto* text = std::get_if<std::string_view>(&value->value);
  if (text == nullptr) return wrong_type(key, *value, "a string");
  return *text;
}

absl::StatusOr<std::span<const std::string_view>> Metadata::strings(std::string_view key) const {
  FIND_OR_RETURN(value, key);
  const auto* array = std::get_if<MetaArray>(&value->value);
  if (array == nullptr || array->element != MetaType::kString) {
    return wrong_type(key, *value, "an array of strings");
  }
  return std::span(std::get<std::vector<std::string_view>>(array->values));
}

absl::StatusOr<std::vector<int64_t>> Metadata::integers(std::string_view key) const {
  FIND_OR_RETURN(value, key);
  auto array = array_of<int64_t>(*value);
  if (!array) return wrong_type(key, *value, "an array of integers");
  return *std::move(array);
}

absl::StatusOr<std::vector<double>> Metadata::numbers(std::string_view key) const {
  FIND_OR_RETURN(value, key);
  auto array = array_of<double>(*value);
  if (!array) return wrong_type(key, *value, "an array of floats");
  return *std::move(array);
}

#undef FIND_OR_RETURN

absl::StatusOr<int64_t> Metadata::integer_or(std::string_view key, int64_t min, int64_t max,
                                             int64_t fallback) const {
  return or_fallback(integer(key, min, max), fallback);
}
absl::StatusOr<double> Metadata::number_or(std::string_view key, double fallback) const {
  return or_fallback(number(key), fallback);
}
absl::StatusOr<bool> Metadata::boolean_or(std::string_view key, bool fallback) const {
  return or_fallback(boolean(key), fallback);
}
absl::StatusOr<std::string_view> Metadata::string_or(std::string_view key,
                                                     std::string_view fallback) const {
  return or_fallback(string(key), fallback);
}

absl::Status Metadata::add(std::string key, MetaValue value) {
  if (has(key)) return invalid_argument("metadata key '{}' appears twice", key);
  set(std::move(key), std::move(value));
  return absl::OkStatus();
}

void Metadata::set(std::string key, MetaValue value) {
  const auto [place, is_new] = index_.try_emplace(key, entries_.size());
  if (is_new) {
    entries_.emplace_back(std::move(key), std::move(value));
  } else {
    entries_[place->second].second = std::move(value);
  }
}

std::string_view Metadata::keep(std::string text) { return kept_.emplace_back(std::move(text)); }

void Metadata::set_integer(std::string key, MetaType type, int64_t value) {
  set(std::move(key), {type, value});
}
void Metadata::set_number(std::string key, double value) {
  set(std::move(key), {MetaType::kF32, value});
}
void Metadata::set_boolean(std::string key, bool value) {
  set(std::move(key), {MetaType::kBool, int64_t{value}});
}
void Metadata::set_string(std::string key, std::string value) {
  set(std::move(key), {MetaType::kString, keep(std::move(value))});
}
void Metadata::set_strings(std::string key, std::span<const std::string> values) {
  std::vector<std::string_view> views;
  views.reserve(values.size());
  for (const std::string& value : values) views.push_back(keep(value));
  set(std::move(key), {MetaType::kArray, MetaArray{MetaType::kString, std::move(views)}});
}
template <typename Number>
void Metadata::set_array(std::string key, MetaType element, std::span<const Number> values) {
  std::string bytes;
  visit_number_type(element, [&]<typename T>(std::type_identity<T>) {
    CHECK(std::is_floating_point_v<T> == std::is_floating_point_v<Number>, "{}", name_of(element));
    for (const Number value : values) {
      const auto narrow = static_cast<T>(value);
      bytes.append(reinterpret_cast<const char*>(&narrow), sizeof narrow);
    }
  });
  const std::string_view kept = keep(std::move(bytes));
  set(std::move(key), {MetaType::kArray, MetaArray{element, std::as_bytes(std::span(kept))}});
}
void Metadata::set_integers(std::string key, MetaType element, std::span<const int64_t> values) {
  set_array(std::move(key), element, values);
}
void Metadata::set_numbers(std::string key, std::span<const double> values) {
  set_array(std::move(key), MetaType::kF32, values);
}

}  // namespace millrace
