#pragma once

#include <string>

#include "base/status.h"
#include "chat/jinja/value.h"
#include "chat/jinja/workspace.h"

namespace millrace::jinja {

// What Python's str() gives; values that Python prints with an address are an error.
absl::StatusOr<Text> to_text(Workspace& work, const Value& value);
absl::Status append_text(TextBuilder& out, Workspace& work, const Value& value);
absl::Status append_repr(TextBuilder& out, Workspace& work, const Value& value);
// Python's repr(), or its ascii(), which escapes all that is not ASCII.
absl::StatusOr<Text> repr_of(Workspace& work, const Value& value, bool is_ascii = false);

// repr(float): the shortest digits that read back the same.
std::string float_repr(double number);
inline constexpr int64_t kFloatSteps = 4;

// The failure of using something that is not there.
absl::Status undefined_error(const Value& undefined);
Undefined missing_attribute(const Value& owner, std::string_view name);
Undefined missing_element(Workspace& work, const Value& owner, const Value& key);
Undefined undefined_because(std::string_view message);

// & < > ' " as markupsafe.escape writes them; the result is markup.
absl::StatusOr<Text> escape(Workspace& work, const Text& text);

}  // namespace millrace::jinja
