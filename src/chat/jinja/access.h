#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "base/status.h"
#include "chat/jinja/value.h"
#include "chat/jinja/workspace.h"

namespace millrace::jinja {

// object.name: what Python's attributes are first (methods), then keys.
absl::StatusOr<Value> get_attribute(Workspace& work, const Value& object, std::string_view name);
// object[key]: keys and indices first, then attributes.
absl::StatusOr<Value> get_item(Workspace& work, const Value& object, const Value& key);
// object[start:stop:step]; null: left out.
absl::StatusOr<Value> get_slice(Workspace& work, const Value& object, const Value* start,
                                const Value* stop, const Value* step);

// The items that a `for` over the value sees. What gives its items once is spent by it.
absl::StatusOr<std::span<const Value>> items_of(Workspace& work, const Value& value);
// The same for a filter that walks as far as it is asked to: what fails after the items is said
// when they are done.
struct Walk {
  std::span<const Value> items;
  absl::Status end;
};
absl::StatusOr<Walk> walk_of(Workspace& work, const Value& value);
// len(); nothing for types that have none.
absl::StatusOr<std::optional<int64_t>> length_of(Workspace& work, const Value& value);
bool is_iterable(const Value& value);

}  // namespace millrace::jinja
