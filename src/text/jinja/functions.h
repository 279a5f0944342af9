#pragma once

#include <string_view>

#include "text/jinja/call.h"
#include "text/jinja/value.h"
#include "text/jinja/workspace.h"

namespace millrace::jinja {

// The functions that every template knows: range, dict, namespace, raise_exception, strftime_now.
const Callable* find_function(std::string_view name);

absl::Status set_attribute(Workspace& work, Namespace& space, const Text& name, const Value& value);

}  // namespace millrace::jinja
