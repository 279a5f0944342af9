#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "base/string_map.h"

namespace millrace {

// The types a metadata value can have; the numbers are GGUF's.
enum class MetaType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};
std::string_view name_of(MetaType type);  // "u8", "string", ...

// Calls visitor(std::type_identity<T>()) for the C++ type that stores a number or bool of `type`.
template <typename Visitor>
decltype(auto) visit_number_type(MetaType type, Visitor&& visitor) {
  switch (type) {
    case MetaType::kU8:
    case MetaType::kBool:
      return visitor(std::type_identity<uint8_t>());
    case MetaType::kI8:
      return visitor(std::type_identity<int8_t>());
    case MetaType::kU16:
      return visitor(std::type_identity<uint16_t>());
    case MetaType::kI16:
      return visitor(std::type_identity<int16_t>());
    case MetaType::kU32:
      return visitor(std::type_identity<uint32_t>());
    case MetaType::kI32:
      return visitor(std::type_identity<int32_t>());
    case MetaType::kU64:
      return visitor(std::type_identity<uint64_t>());
    case MetaType::kI64:
      return visitor(std::type_identity<int64_t>());
    case MetaType::kF32:
      return visitor(std::type_identity<float>());
    case MetaType::kF64:
      return visitor(std::type_identity<double>());
    case MetaType::kString:
    case MetaType::kArray:
      break;
  }
  check_failed(__FILE__, __LINE__, "type is a number", name_of(type));
}

// One dimension of strings, or of numbers or bools as the bytes that `element` has in memory, which
// need no alignment: an array takes no more memory than in its file.
struct MetaArray {
  MetaType element;
  std::variant<std::vector<std::string_view>, std::span<const std::byte>> values;

  int64_t size() const;
  // Its first elements, at most `count`: integers and bools as int64 (u64 wraps), floats as double.
  std::variant<std::vector<std::string_view>, std::vector<int64_t>, std::vector<double>> first(
      int64_t count) const;
};

// `type` says how a file stores it; the variant holds integers and bools as int64 (u64 wraps),
// floats as double.
struct MetaValue {
  MetaType type;
  std::variant<int64_t, double, std::string_view, MetaArray> value;
};

// What a model file says about its model: an ordered map from keys to values. Strings and arrays
// are views: into the file that was read (which must outlive this object), or into this object for
// those that were set by the program.
//
// Getters: NOT_FOUND when the key is absent, INVALID_ARGUMENT naming the key when its type or range
// is wrong.
class Metadata {
 public:
  bool has(std::string_view key) const { return index_.contains(key); }
  const MetaValue* find(std::string_view key) const;
  std::span<const std::pair<std::string, MetaValue>> entries() const {
    return entries_;
  }  // file order

  absl::StatusOr<int64_t> integer(std::string_view key, int64_t min, int64_t max) const;
  absl::StatusOr<double> number(std::string_view key) const;  // integers too; always finite
  absl::StatusOr<bool> boolean(std::string_view key) const;
  absl::StatusOr<std::string_view> string(std::string_view key) const;
  absl::StatusOr<std::span<const std::string_view>> strings(std::string_view key) const;
  absl::StatusOr<std::vector<int64_t>> integers(std::string_view key) const;
  absl::StatusOr<std::vector<double>> numbers(std::string_view key) const;

  // The same with a value for an absent key; a present key of the wrong type is still an error.
  absl::StatusOr<int64_t> integer_or(std::string_view key, int64_t min, int64_t max,
                                     int64_t fallback) const;
  absl::StatusOr<double> number_or(std::string_view key, double fallback) const;
  absl::StatusOr<bool> boolean_or(std::string_view key, bool fallback) const;
  absl::StatusOr<std::string_view> string_or(std::string_view key, std::string_view fallback) const;

  // INVALID_ARGUMENT when the key is already there. String views in `value` are kept as they are.
  absl::Status add(std::string key, MetaValue value);
  // Sets or replaces; strings are copied into this object.
  void set_integer(std::string key, MetaType type, int64_t value);
  void set_number(std::string key, double value);  // stored as f32
  void set_boolean(std::string key, bool value);
  void set_string(std::string key, std::string value);
  void set_strings(std::string key, std::span<const std::string> values);
  void set_integers(std::string key, MetaType element, std::span<const int64_t> values);
  void set_integers(std::string key, MetaType element, std::initializer_list<int64_t> values) {
    set_integers(std::move(key), element, std::span(values.begin(), values.size()));
  }
  void set_numbers(std::string key, std::span<const double> values);  // stored as f32
  void set_numbers(std::string key, std::initializer_list<double> values) {
    set_numbers(std::move(key), std::span(values.begin(), values.size()));
  }

 private:
  std::string_view keep(std::string text);
  template <typename Number>
  void set_array(std::string key, MetaType element, std::span<const Number> values);
  void set(std::string key, MetaValue value);

  std::vector<std::pair<std::string, MetaValue>> entries_;
  StringMap<size_t> index_;
  std::deque<std::string> kept_;
};

}  // namespace millrace
