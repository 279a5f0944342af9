#pragma once

#include "base/status.h"
#include "chat/jinja/value.h"
#include "chat/jinja/workspace.h"

namespace millrace::jinja {

// How jinja2's filters reach into items: an attribute is an index, or names and indices joined with
// dots. What is missing on the way becomes the fallback, if there is one.
absl::StatusOr<Value> attribute_path(Workspace& work, const Value& item, const Value& attribute,
                                     const Value* fallback = nullptr);

// Strings in lower case, unless the comparison is exact.
absl::StatusOr<Value> fold_case(Workspace& work, const Value& value, bool is_exact);

// What items are compared by; `attribute` null or None: by themselves.
absl::StatusOr<Value> attribute_key(Workspace& work, const Value& item, const Value* attribute,
                                    bool is_exact);
// As sort does it: several attributes joined with commas; always a list.
absl::StatusOr<Value> sort_key(Workspace& work, const Value& item, const Value* attribute,
                               bool is_exact);

}  // namespace millrace::jinja
