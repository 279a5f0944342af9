#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

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

// One dimension of scalars or strings. Numbers of every integer type are held as int64 (u64 wraps),
// floats as double.
struct MetaArray {
  MetaType element;
  std::variant<std::vector<int64_t>, std::vector<double>, std::vector<std::string_view>> values;

  int64_t size() const;
};

// `type` says how a file stores it; the variant holds integers and bools as int64 (u64 wraps),
// floats as double.
struct MetaValue {
  MetaType type;
  std::variant<int64_t, double, std::string_view, MetaArray> value;
};

// What a model file says about its model: an ordered map from keys to values. Strings are views:
// into the file that was read (which must outlive this object), or into this object for those that
// were set by the program.
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
  absl::StatusOr<std::span<const int64_t>> integers(std::string_view key) const;
  absl::StatusOr<std::span<const double>> numbers(std::string_view key) const;

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
  void set_integers(std::string key, MetaType element, std::vector<int64_t> values);
  void set_numbers(std::string key, std::vector<double> values);  // stored as f32

 private:
  std::string_view keep(std::string text);
  void set(std::string key, MetaValue value);

  std::vector<std::pair<std::string, MetaValue>> entries_;
  StringMap<size_t> index_;
  std::deque<std::string> kept_;
};

}  // namespace millrace
