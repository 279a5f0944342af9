#pragma once

#include "base/status.h"
#include "chat/jinja/ast.h"
#include "chat/jinja/value.h"
#include "chat/jinja/workspace.h"

namespace millrace::jinja {

// As Python's operators.
absl::StatusOr<Value> binary(Workspace& work, BinaryOp op, const Value& left, const Value& right);
absl::StatusOr<Value> negative(Workspace& work, const Value& value);
absl::StatusOr<Value> positive(const Value& value);
absl::StatusOr<Value> add(Workspace& work, const Value& left, const Value& right);

}  // namespace millrace::jinja
