#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "chat/jinja/syntax/ast.h"
#include "chat/jinja/values/value.h"
#include "chat/jinja/values/workspace.h"

namespace millrace::jinja {

// Access (access.cc).

// object.name: what Python's attributes are first (methods), then keys.
absl::StatusOr<Value> get_attribute(Workspace& work, const Value& object, std::string_view name);
// object[key]: keys and indices first, then attributes.
absl::StatusOr<Value> get_item(Workspace& work, const Value& object, const Value& key);
// object[start:stop:step]; null: left out.
absl::StatusOr<Value> get_slice(Workspace& work, const Value& object, const Value* start,
                                const Value* stop, const Value* step);

// The items that a `for` over the value sees. Generators are consumed.
absl::StatusOr<std::span<const Value>> items_of(Workspace& work, const Value& value);
// The same for filters that are generators: `end` is the error that follows the items.
struct Walk {
  std::span<const Value> items;
  absl::Status end;
};
absl::StatusOr<Walk> walk_of(Workspace& work, const Value& value);
// len(); nothing for types that have none.
absl::StatusOr<std::optional<int64_t>> length_of(Workspace& work, const Value& value);
bool is_iterable(const Value& value);

// Comparison (value.cc).

bool is_true(const Value& value);

absl::StatusOr<bool> equal(Workspace& work, const Value& left, const Value& right);
// left < right as Python orders; `sign` names the operator in the error of types without an order.
absl::StatusOr<bool> less(Workspace& work, const Value& left, const Value& right,
                          std::string_view sign = "<");
// Not the opposite of greater: a NaN is neither.
absl::StatusOr<bool> less_or_equal(Workspace& work, const Value& left, const Value& right,
                                   std::string_view sign = "<=");
absl::StatusOr<bool> compare(Workspace& work, CompareOp op, const Value& left, const Value& right);
absl::StatusOr<bool> contains(Workspace& work, const Value& container, const Value& item);

// Whether the value can be a key of a dict (all but lists, dicts and what holds them); counts the
// work of hashing it.
absl::StatusOr<bool> can_be_key(Workspace& work, const Value& value);
absl::Status expect_key(Workspace& work, const Value& value);
size_t hash_of(const Value& key);
bool keys_equal(const Value& left, const Value& right);

// Arithmetic (arithmetic.cc).

// As Python's operators.
absl::StatusOr<Value> binary(Workspace& work, BinaryOp op, const Value& left, const Value& right);
absl::StatusOr<Value> negative(const Value& value);
absl::StatusOr<Value> positive(const Value& value);
absl::StatusOr<Value> add(Workspace& work, const Value& left, const Value& right);
// What is no whole number, or does not fit into 64 bits, fails.
absl::StatusOr<Value> whole_part(double number);
absl::Status integer_overflow();

// Printing (print.cc).

// What Python's str() gives; values that Python prints with an address are an error.
absl::StatusOr<Text> to_text(Workspace& work, const Value& value);
absl::Status append_text(TextBuilder& out, Workspace& work, const Value& value);
absl::Status append_repr(TextBuilder& out, Workspace& work, const Value& value);
// Python's repr().
absl::StatusOr<Text> repr_of(Workspace& work, const Value& value);

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

struct JsonStyle {
  bool is_ascii = false;
  bool is_sorted = false;
  std::optional<Text> indent;  // of one level; none: all on one line
  Text item_separator = make_view(", ");
  Text key_separator = make_view(": ");
};
// As Python's json.dumps.
absl::StatusOr<Value> to_json(Workspace& work, const Value& value, const JsonStyle& style);

}  // namespace millrace::jinja
