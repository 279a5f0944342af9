#pragma once

#include <optional>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "base/status.h"
#include "chat/jinja/value.h"
#include "chat/jinja/workspace.h"

namespace millrace::jinja {

// Where the strings of a JSON value come from.
enum class Origin : uint8_t {
  kTrusted,   // the model's files or the caller's own words
  kWritten,   // somebody wrote every string and key in it
  kMessages,  // as kWritten, but for each message's `role` where it is one that everybody knows
};

// Values that look into `json`, which must outlive them. A failure says where in the variable
// `name` it is.
absl::StatusOr<Value> from_json(Workspace& work, std::string_view name,
                                const nlohmann::ordered_json& json, Origin origin);

struct JsonStyle {
  bool is_ascii = false;
  bool is_sorted = false;
  std::optional<Text> indent;  // of one level; none: all on one line
  Text item_separator = make_view(", ");
  Text key_separator = make_view(": ");
};
// As Python's json.dumps.
absl::StatusOr<Value> to_json(Workspace& work, const Value& value, const JsonStyle& style);

}  // namespace millrace::jinja
