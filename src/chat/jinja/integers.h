#pragma once

#include <string>

#include "base/status.h"
#include "chat/jinja/ast.h"
#include "chat/jinja/bigint.h"
#include "chat/jinja/value.h"
#include "chat/jinja/workspace.h"

namespace millrace::jinja {

// Python's integers: 64 bits where they fit, else a Big of at most Limits::integer_bits_max.

BigInt big_of(const Value& integer);
// RESOURCE_EXHAUSTED beyond the bound.
absl::StatusOr<Value> make_integer(Workspace& work, const BigInt& number);
// Text of digits, one at least, each below the base.
absl::StatusOr<Value> parse_digits(Workspace& work, std::string_view digits, uint32_t base,
                                   bool is_negative);
absl::StatusOr<Value> whole_part(Workspace& work, double number);

absl::StatusOr<Value> binary_integers(Workspace& work, BinaryOp op, const Value& left,
                                      const Value& right);
absl::StatusOr<Value> negative_integer(Workspace& work, const Value& value);
bool is_negative_integer(const Value& value);

// With a '-' where it is negative.
absl::StatusOr<std::string> integer_text(Workspace& work, const Value& value, uint32_t base = 10);
// Fails for integers beyond the doubles, as float() does.
absl::StatusOr<double> float_of(const Value& number);

}  // namespace millrace::jinja
