#pragma once

#include "base/status.h"
#include "chat/jinja/value.h"
#include "chat/jinja/workspace.h"

namespace millrace::jinja {

enum class Case : uint8_t { kUpper, kLower, kCapitalized, kTitle, kSwapped, kFolded };

// As Python's str maps cases, marks kept.
absl::StatusOr<Value> change_case(Workspace& work, const Text& text, Case to);
// str.istitle: upper and lower letters where a title has them, and at least one.
bool is_title(std::string_view text);

}  // namespace millrace::jinja
