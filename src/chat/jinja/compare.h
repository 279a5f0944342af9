#pragma once

#include <cstddef>
#include <optional>

#include "base/status.h"
#include "chat/jinja/value.h"
#include "chat/jinja/workspace.h"

namespace millrace::jinja {

bool is_true(const Value& value);

absl::StatusOr<bool> equal(Workspace& work, const Value& left, const Value& right);
// left < right as Python orders; `sign` names the operator in the error of types without an order.
absl::StatusOr<bool> less(Workspace& work, const Value& left, const Value& right,
                          std::string_view sign = "<");
// Not the opposite of greater: a NaN is neither.
absl::StatusOr<bool> less_or_equal(Workspace& work, const Value& left, const Value& right,
                                   std::string_view sign = "<=");
absl::StatusOr<bool> contains(Workspace& work, const Value& container, const Value& item);

// Whether the value can be a key of a dict (all but lists, dicts and what holds them); counts the
// work of hashing it.
absl::StatusOr<bool> can_be_key(Workspace& work, const Value& value);
absl::Status expect_key(Workspace& work, const Value& value);
size_t hash_of(const Value& key);
bool keys_equal(const Value& left, const Value& right);

}  // namespace millrace::jinja
