#include <algorithm>

#include "chat/jinja/library/library.h"
#include "chat/jinja/values/operators.h"
#include "chat/jinja/values/text.h"

namespace millrace::jinja {

namespace {

template <bool (*kHolds)(const Value&)>
absl::StatusOr<bool> simple(Workspace&, Value value) {
  return kHolds(value);
}

template <typename T>
bool holds(const Value& value) {
  return std::holds_alternative<T>(value);
}
bool is_defined(const Value& value) { return !is_undefined(value); }
bool is_int(const Value& value) { return holds<int64_t>(value); }
bool is_constant_true(const Value& value) { return holds<bool>(value) && std::get<bool>(value); }
bool is_constant_false(const Value& value) { return holds<bool>(value) && !std::get<bool>(value); }
bool is_sequence(const Value& value) {
  return is_undefined(value) || holds<Text>(value) || holds<const Dict*>(value) ||
         holds<const List*>(value) || holds<const Range*>(value);
}
// Python's callable(): Undefined and loops have __call__.
bool is_callable(const Value& value) {
  return is_undefined(value) || holds<const Callable*>(value) || holds<Loop*>(value);
}

template <CompareOp kOp>
absl::StatusOr<bool> compared(Workspace& work, Value left, Value right) {
  return compare(work, kOp, left, right);
}

absl::StatusOr<bool> is_divisible(Workspace& work, Value value, Value divisor) {
  ASSIGN_OR_RETURN(const Value rest, binary(work, BinaryOp::kModulo, value, divisor));
  return equal(work, rest, Value(int64_t{0}));
}
absl::StatusOr<bool> is_even(Workspace& work, Value value) {
  return is_divisible(work, value, Value(int64_t{2}));
}
absl::StatusOr<bool> is_odd(Workspace& work, Value value) {
  ASSIGN_OR_RETURN(const Value rest, binary(work, BinaryOp::kModulo, value, Value(int64_t{2})));
  return equal(work, rest, Value(int64_t{1}));
}

template <Case kCase>
absl::StatusOr<bool> is_all_in_case(Workspace& work, Printed printed) {
  return has_case(work, printed.text, kCase);
}

constexpr Routine kTests[] = {
    {"!=", kTyped<compared<CompareOp::kNotEqual>>, {"/other"}},
    {"<", kTyped<compared<CompareOp::kLess>>, {"/other"}},
    {"<=", kTyped<compared<CompareOp::kLessEqual>>, {"/other"}},
    {"==", kTyped<compared<CompareOp::kEqual>>, {"/other"}},
    {">", kTyped<compared<CompareOp::kGreater>>, {"/other"}},
    {">=", kTyped<compared<CompareOp::kGreaterEqual>>, {"/other"}},
    {"boolean", kTyped<simple<holds<bool>>>},
    {"callable", kTyped<simple<is_callable>>},
    {"defined", kTyped<simple<is_defined>>},
    {"divisibleby", kTyped<is_divisible>, {"num"}},
    {"eq", kTyped<compared<CompareOp::kEqual>>, {"/other"}},
    {"equalto", kTyped<compared<CompareOp::kEqual>>, {"/other"}},
    {"even", kTyped<is_even>},
    {"false", kTyped<simple<is_constant_false>>},
    {"float", kTyped<simple<holds<double>>>},
    {"ge", kTyped<compared<CompareOp::kGreaterEqual>>, {"/other"}},
    {"greaterthan", kTyped<compared<CompareOp::kGreater>>, {"/other"}},
    {"gt", kTyped<compared<CompareOp::kGreater>>, {"/other"}},
    {"in", kTyped<compared<CompareOp::kIn>>, {"seq"}},
    {"integer", kTyped<simple<is_int>>},
    {"iterable", kTyped<simple<is_iterable>>},
    {"le", kTyped<compared<CompareOp::kLessEqual>>, {"/other"}},
    {"lessthan", kTyped<compared<CompareOp::kLess>>, {"/other"}},
    {"lower", kTyped<is_all_in_case<Case::kLower>>},
    {"lt", kTyped<compared<CompareOp::kLess>>, {"/other"}},
    {"mapping", kTyped<simple<holds<const Dict*>>>},
    {"ne", kTyped<compared<CompareOp::kNotEqual>>, {"/other"}},
    {"none", kTyped<simple<is_none>>},
    {"number", kTyped<simple<is_number>>},
    {"odd", kTyped<is_odd>},
    {"sequence", kTyped<simple<is_sequence>>},
    {"string", kTyped<simple<holds<Text>>>},
    {"true", kTyped<simple<is_constant_true>>},
    {"undefined", kTyped<simple<is_undefined>>},
    {"upper", kTyped<is_all_in_case<Case::kUpper>>},
};

constexpr std::string_view kForeignTests[] = {"escaped", "filter", "sameas", "test"};

}  // namespace

const Routine* find_test(std::string_view name) { return find_in(kTests, name); }

absl::Status no_test(std::string_view name) {
  if (std::ranges::find(kForeignTests, name) != std::end(kForeignTests)) {
    return unimplemented("the test '{}' is not supported", name);
  }
  return invalid_argument("no test named '{}'", name);
}

}  // namespace millrace::jinja
