#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace millrace::jinja {

// What is between the quotes of a string literal, its backslash escapes read as Python reads them.
absl::StatusOr<std::string> unescape(std::string_view literal);

}  // namespace millrace::jinja
