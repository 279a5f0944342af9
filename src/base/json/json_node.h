#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <absl/functional/function_ref.h>
#include <nlohmann/json_fwd.hpp>

#include "base/status.h"

namespace millrace {

// A value in a JSON file that is not trusted, and where it is. Getters: INVALID_ARGUMENT, naming
// the path, where the value is another.
class JsonNode {
 public:
  // A file's value, called `name` in errors about the whole. Bounds on bytes, depth and values; an
  // object has no key twice.
  static absl::StatusOr<JsonNode> parse(std::string_view text, std::string_view name);

  bool is_null() const;  // absent members are null
  bool is_string() const;
  bool is_array() const;
  bool is_object() const;
  bool is_number() const;
  bool is_boolean() const;
  std::string path() const;  // model.vocab["x"], added_tokens[3].id

  absl::StatusOr<std::string_view> string() const;
  absl::StatusOr<std::string_view> string_or(std::string_view fallback) const;  // where null
  absl::StatusOr<bool> boolean_or(bool fallback) const;
  absl::StatusOr<int64_t> integer(int64_t min, int64_t max) const;
  absl::StatusOr<int64_t> integer_or(int64_t min, int64_t max, int64_t fallback) const;
  absl::StatusOr<double> number() const;  // finite

  // Of an object; null where it has none of this name, or is null. `key` outlives what is got.
  absl::StatusOr<JsonNode> at(std::string_view key) const;
  absl::StatusOr<std::string_view> string_at(std::string_view key) const;
  absl::StatusOr<std::string_view> string_at(std::string_view key, std::string_view fallback) const;
  absl::StatusOr<bool> boolean_at(std::string_view key, bool fallback) const;
  int64_t size() const;  // of an array or object; otherwise 0
  using EachMember = absl::FunctionRef<absl::Status(std::string_view key, const JsonNode& value)>;
  absl::Status for_each_member(EachMember each) const;  // of an object
  using EachElement = absl::FunctionRef<absl::Status(int64_t index, const JsonNode& value)>;
  absl::Status for_each_element(EachElement each) const;  // of an array

  absl::Status error(std::string_view what) const;  // "PATH what"
  absl::Status not_done(std::string_view what) const;

 private:
  using Root = std::shared_ptr<const nlohmann::json>;
  JsonNode(Root root, const nlohmann::json* value) : root_(std::move(root)), value_(value) {}
  JsonNode child(const nlohmann::json* value, std::shared_ptr<const std::string> parent) const;
  absl::Status is_not(std::string_view type) const;

  Root root_;                    // keeps what value_ and key_ point into
  const nlohmann::json* value_;  // null: absent
  std::shared_ptr<const std::string> parent_;
  std::string_view key_;
  int64_t index_ = -1;  // of an array's element
};

}  // namespace millrace
