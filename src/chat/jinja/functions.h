#pragma once

#include <string_view>

#include "chat/jinja/call.h"
#include "chat/jinja/value.h"
#include "chat/jinja/workspace.h"

namespace millrace::jinja {

// The functions that every template knows: range, dict, namespace, raise_exception, strftime_now.
const Callable* find_function(std::string_view name);

absl::Status set_attribute(Workspace& work, Namespace& space, const Text& name, const Value& value);

}  // namespace millrace::jinja
