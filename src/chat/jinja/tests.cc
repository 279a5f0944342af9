#include "chat/jinja/tests.h"

#include "chat/jinja/access.h"
#include "chat/jinja/arithmetic.h"
#include "chat/jinja/compare.h"
#include "chat/jinja/filters.h"
#include "chat/jinja/print.h"
#include "chat/jinja/text_search.h"

namespace millrace::jinja {

namespace {

using Given = const Arguments&;

template <bool (*kHolds)(const Value&)>
absl::StatusOr<bool> simple(Workspace&, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("this test", given));
  return kHolds(value);
}

bool is_defined(const Value& value) { return !is_undefined(value); }
bool is_boolean(const Value& value) { return std::holds_alternative<bool>(value); }
bool is_float(const Value& value) { return std::holds_alternative<double>(value); }
bool is_int(const Value& value) { return is_integer(value) && !is_boolean(value); }
bool is_string(const Value& value) { return as_text(value) != nullptr; }
bool is_mapping(const Value& value) { return std::holds_alternative<const Dict*>(value); }
bool is_constant_true(const Value& value) { return is_boolean(value) && std::get<bool>(value); }
bool is_constant_false(const Value& value) { return is_boolean(value) && !std::get<bool>(value); }
bool is_sequence(const Value& value) {
  return is_undefined(value) || is_string(value) || is_mapping(value) ||
         std::holds_alternative<const List*>(value) || std::holds_alternative<const Range*>(value);
}
// jinja2 judges by __call__, which Undefined and its loops have.
bool is_callable(const Value& value) {
  return is_undefined(value) || std::holds_alternative<const Callable*>(value) ||
         std::holds_alternative<Loop*>(value);
}
bool is_escaped(const Value& value) {
  const Text* text = as_text(value);
  return text != nullptr && text->is_markup;
}

absl::StatusOr<const Value*> other_side(std::string_view test, Given given) {
  if (given.positional.size() != 1 || !given.named.empty()) {
    return invalid_argument("the test '{}' needs one argument", test);
  }
  return &given.positional[0];
}

absl::StatusOr<bool> is_equal(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const Value* other, other_side("eq", given));
  return equal(work, value, *other);
}
absl::StatusOr<bool> is_not_equal(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const bool same, is_equal(work, value, given));
  return !same;
}
absl::StatusOr<bool> is_less(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const Value* other, other_side("lt", given));
  return less(work, value, *other, "<");
}
absl::StatusOr<bool> is_less_or_equal(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const Value* other, other_side("le", given));
  return less_or_equal(work, value, *other, "<=");
}
absl::StatusOr<bool> is_greater(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const Value* other, other_side("gt", given));
  return less(work, *other, value, ">");
}
absl::StatusOr<bool> is_greater_or_equal(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const Value* other, other_side("ge", given));
  return less_or_equal(work, *other, value, ">=");
}
absl::StatusOr<bool> is_in(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const Value* other, other_side("in", given));
  return contains(work, *other, value);
}

absl::StatusOr<bool> has_remainder(Workspace& work, const Value& value, int64_t divisor,
                                   int64_t remainder) {
  ASSIGN_OR_RETURN(const Value rest, binary(work, BinaryOp::kModulo, value, Value(divisor)));
  return equal(work, rest, Value(remainder));
}
absl::StatusOr<bool> is_even(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("the test 'even'", given));
  return has_remainder(work, value, 2, 0);
}
absl::StatusOr<bool> is_odd(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("the test 'odd'", given));
  return has_remainder(work, value, 2, 1);
}
absl::StatusOr<bool> is_divisible(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const Value* other, other_side("divisibleby", given));
  ASSIGN_OR_RETURN(const Value rest, binary(work, BinaryOp::kModulo, value, *other));
  return equal(work, rest, Value(int64_t{0}));
}

template <bool (*kWanted)(int32_t), bool (*kOther)(int32_t)>
absl::StatusOr<bool> is_of_case(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("the tests 'upper' and 'lower'", given));
  ASSIGN_OR_RETURN(const Text text, to_text(work, value));
  RETURN_IF_ERROR(work.spend_bytes(text.size, 8));
  bool has_wanted = false;
  for (size_t at = 0; at < text.size; at += code_point_at(text.view(), at).size) {
    const int32_t c = code_point_at(text.view(), at).value;
    if (kOther(c)) return false;
    has_wanted = has_wanted || kWanted(c);
  }
  return has_wanted;
}

absl::StatusOr<bool> is_filter_name(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("the test 'filter'", given));
  RETURN_IF_ERROR(expect_key(work, value));
  const Text* name = as_text(value);
  return name != nullptr && find_filter(name->view()) != nullptr;
}
absl::StatusOr<bool> is_test_name(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("the test 'test'", given));
  RETURN_IF_ERROR(expect_key(work, value));
  const Text* name = as_text(value);
  return name != nullptr && find_test(name->view()) != nullptr;
}

// Python's `is`: certain only where a value has one object.
absl::StatusOr<bool> is_same(Workspace&, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const Value* other, other_side("sameas", given));
  if (value.index() != other->index()) return false;
  if (is_boolean(value) || is_none(value)) return keys_equal(value, *other);
  if (is_string(value) || is_number(value) || is_undefined(value)) {
    return unimplemented("the identity of a {} is not supported", type_name(value));
  }
  return keys_equal(value, *other);
}

constexpr Test kTests[] = {
    {"!=", is_not_equal},
    {"<", is_less},
    {"<=", is_less_or_equal},
    {"==", is_equal},
    {">", is_greater},
    {">=", is_greater_or_equal},
    {"boolean", simple<is_boolean>},
    {"callable", simple<is_callable>},
    {"defined", simple<is_defined>},
    {"divisibleby", is_divisible},
    {"eq", is_equal},
    {"equalto", is_equal},
    {"escaped", simple<is_escaped>},
    {"even", is_even},
    {"false", simple<is_constant_false>},
    {"filter", is_filter_name},
    {"float", simple<is_float>},
    {"ge", is_greater_or_equal},
    {"greaterthan", is_greater},
    {"gt", is_greater},
    {"in", is_in},
    {"integer", simple<is_int>},
    {"iterable", simple<is_iterable>},
    {"le", is_less_or_equal},
    {"lessthan", is_less},
    {"lower", is_of_case<is_lower, is_upper>},
    {"lt", is_less},
    {"mapping", simple<is_mapping>},
    {"ne", is_not_equal},
    {"none", simple<is_none>},
    {"number", simple<is_number>},
    {"odd", is_odd},
    {"sameas", is_same},
    {"sequence", simple<is_sequence>},
    {"string", simple<is_string>},
    {"test", is_test_name},
    {"true", simple<is_constant_true>},
    {"undefined", simple<is_undefined>},
    {"upper", is_of_case<is_upper, is_lower>},
};

}  // namespace

const Test* find_test(std::string_view name) {
  for (const Test& test : kTests) {
    if (test.name == name) return &test;
  }
  return nullptr;
}

}  // namespace millrace::jinja
