#pragma once

#include "base/status.h"
#include "chat/jinja/call.h"
#include "chat/jinja/value.h"
#include "chat/jinja/workspace.h"

namespace millrace::jinja {

// pattern % arguments, as Python's printf-style formatting. A tuple holds several arguments, a dict
// named ones.
absl::StatusOr<Value> format_percent(Workspace& work, const Text& pattern, const Value& arguments);
// pattern.format(...), or pattern.format_map(mapping), with Python's format specifications.
absl::StatusOr<Value> format_braces(Workspace& work, const Text& pattern,
                                    const Arguments& arguments, const Value* mapping = nullptr);

}  // namespace millrace::jinja
