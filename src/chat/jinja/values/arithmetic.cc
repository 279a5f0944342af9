#include <algorithm>
#include <cmath>
#include <optional>

#include "chat/jinja/library/library.h"
#include "chat/jinja/values/operators.h"

namespace millrace::jinja {

namespace {

std::string_view sign_of(BinaryOp op) {
  switch (op) {
    case BinaryOp::kAdd:
      return "+";
    case BinaryOp::kSubtract:
      return "-";
    case BinaryOp::kMultiply:
      return "*";
    case BinaryOp::kDivide:
      return "/";
    case BinaryOp::kFloorDivide:
      return "//";
    case BinaryOp::kModulo:
      return "%";
    case BinaryOp::kPower:
      return "**";
  }
  return {};
}

absl::Status unsupported(BinaryOp op, const Value& left, const Value& right) {
  return invalid_argument("'{}' does not work between {} and {}", sign_of(op), type_name(left),
                          type_name(right));
}

absl::Status division_by_zero() { return invalid_argument("division by zero"); }

absl::StatusOr<Value> floats(BinaryOp op, double left, double right) {
  switch (op) {
    case BinaryOp::kAdd:
      return Value(left + right);
    case BinaryOp::kSubtract:
      return Value(left - right);
    case BinaryOp::kMultiply:
      return Value(left * right);
    case BinaryOp::kDivide:
      if (right == 0) return division_by_zero();
      return Value(left / right);
    case BinaryOp::kFloorDivide:
    case BinaryOp::kModulo:
    case BinaryOp::kPower:
      break;
  }
  return unimplemented("'{}' of floats is not supported", sign_of(op));
}

absl::StatusOr<Value> integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    return unimplemented("negative powers are not supported");
  }
  int64_t result = 1;
  while (exponent > 0) {
    if (exponent % 2 == 1 && __builtin_mul_overflow(result, base, &result)) {
      return integer_overflow();
    }
    exponent /= 2;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return integer_overflow();
  }
  return Value(result);
}

// Python rounds quotients towards minus infinity; the remainder has the divisor's sign.
absl::StatusOr<Value> divide_integers(BinaryOp op, int64_t left, int64_t right) {
  if (right == 0) return division_by_zero();
  if (op == BinaryOp::kDivide) {
    // With 64 bits of precision, so that integers beyond 2^53 are rounded once.
    return Value(static_cast<double>(static_cast<long double>(left) / right));
  }
  if (right == -1) {
    if (op == BinaryOp::kModulo) return Value(int64_t{0});
    int64_t quotient = 0;
    if (__builtin_sub_overflow(int64_t{0}, left, &quotient)) return integer_overflow();
    return Value(quotient);
  }
  const int64_t rest = left % right;
  const bool is_below = rest != 0 && (rest < 0) != (right < 0);
  if (op == BinaryOp::kModulo) return Value(is_below ? rest + right : rest);
  return Value(left / right - (is_below ? 1 : 0));
}

absl::StatusOr<Value> integers(BinaryOp op, int64_t left, int64_t right) {
  int64_t result = 0;
  bool overflows = false;
  switch (op) {
    case BinaryOp::kAdd:
      overflows = __builtin_add_overflow(left, right, &result);
      break;
    case BinaryOp::kSubtract:
      overflows = __builtin_sub_overflow(left, right, &result);
      break;
    case BinaryOp::kMultiply:
      overflows = __builtin_mul_overflow(left, right, &result);
      break;
    case BinaryOp::kPower:
      return integer_power(left, right);
    case BinaryOp::kDivide:
    case BinaryOp::kFloorDivide:
    case BinaryOp::kModulo:
      return divide_integers(op, left, right);
  }
  if (overflows) return integer_overflow();
  return Value(result);
}

absl::StatusOr<Value> numbers(BinaryOp op, const Value& left, const Value& right) {
  if (is_integer(left) && is_integer(right)) {
    return integers(op, integer_of(left), integer_of(right));
  }
  return floats(op, number_of(left), number_of(right));
}

absl::StatusOr<Value> repeat_text(Workspace& work, const Text& text, int64_t times) {
  if (times <= 0 || text.size == 0) return Value(Text{.is_markup = text.is_markup});
  if (times > work.limits().text_bytes_max / text.size) {
    return work.expect_text(work.limits().text_bytes_max + 1);
  }
  // Each copy of a text with marks is looked at.
  RETURN_IF_ERROR(text.marks == nullptr ? work.spend_bytes(static_cast<size_t>(times) * text.size)
                                        : work.spend(times));
  TextBuilder out(work);
  out.append_repeated(text, times);
  ASSIGN_OR_RETURN(Value result, out.finish());
  std::get<Text>(result).is_markup = text.is_markup;
  return result;
}

absl::StatusOr<Value> repeat_list(Workspace& work, const List& list, int64_t times) {
  const auto size = std::ssize(list.items);
  if (times <= 0 || size == 0)
    return Value(work.arena().make<List>(list.items.first(0), list.is_tuple));
  if (times > work.limits().items_max / size) {
    return work.expect_items(work.limits().items_max + 1);
  }
  RETURN_IF_ERROR(work.spend(times * size / 8));
  const std::span<Value> items = work.arena().make_array<Value>(static_cast<size_t>(times * size));
  for (size_t i = 0; i < items.size(); ++i) items[i] = list.items[i % list.items.size()];
  return Value(work.arena().make<List>(items, list.is_tuple));
}

absl::StatusOr<Value> multiply(Workspace& work, const Value& left, const Value& right) {
  const Value& sequence = is_integer(left) ? right : left;
  const Value& times = is_integer(left) ? left : right;
  if (is_integer(times) && !is_number(sequence)) {
    const int64_t count = integer_of(times);
    if (const Text* text = as_text(sequence)) {
      return repeat_text(work, *text, count);
    }
    if (const auto* list = std::get_if<const List*>(&sequence)) {
      return repeat_list(work, **list, count);
    }
  }
  return unsupported(BinaryOp::kMultiply, left, right);
}

absl::StatusOr<Value> add_texts(Workspace& work, Text left, Text right) {
  const bool is_markup = left.is_markup || right.is_markup;
  if (is_markup) {
    ASSIGN_OR_RETURN(left, escape(work, left));
    ASSIGN_OR_RETURN(right, escape(work, right));
  }
  RETURN_IF_ERROR(work.expect_text(int64_t{left.size} + right.size));
  TextBuilder out(work);
  out.append(left);
  out.append(right);
  ASSIGN_OR_RETURN(Value result, out.finish());
  std::get<Text>(result).is_markup = is_markup;
  return result;
}

}  // namespace

absl::Status integer_overflow() {
  return unimplemented("integers beyond 64 bits are not supported");
}

absl::StatusOr<Value> whole_part(double number) {
  if (std::isnan(number)) return invalid_argument("a NaN is no integer");
  if (std::isinf(number)) return invalid_argument("infinity is no integer");
  if (!(number >= -0x1p63 && number < 0x1p63)) return integer_overflow();
  return Value(static_cast<int64_t>(number));
}

absl::StatusOr<Value> add(Workspace& work, const Value& left, const Value& right) {
  if (is_number(left) && is_number(right)) return numbers(BinaryOp::kAdd, left, right);
  const Text* text = as_text(left);
  const Text* other_text = as_text(right);
  if (text != nullptr && other_text != nullptr) return add_texts(work, *text, *other_text);
  const auto* list = std::get_if<const List*>(&left);
  const auto* other = std::get_if<const List*>(&right);
  if (list == nullptr || other == nullptr || (*list)->is_tuple != (*other)->is_tuple) {
    return unsupported(BinaryOp::kAdd, left, right);
  }
  const size_t size = (*list)->items.size() + (*other)->items.size();
  RETURN_IF_ERROR(work.expect_items(static_cast<int64_t>(size)));
  RETURN_IF_ERROR(work.spend(static_cast<int64_t>(size) / 8));
  const std::span<Value> items = work.arena().make_array<Value>(size);
  const auto middle = std::copy((*list)->items.begin(), (*list)->items.end(), items.begin());
  std::copy((*other)->items.begin(), (*other)->items.end(), middle);
  return Value(work.arena().make<List>(items, (*list)->is_tuple));
}

absl::StatusOr<Value> binary(Workspace& work, BinaryOp op, const Value& left, const Value& right) {
  if (const Text* pattern = as_text(left); pattern != nullptr && op == BinaryOp::kModulo) {
    return format_percent(work, *pattern, right);
  }
  for (const Value* side : {&left, &right}) {
    if (is_undefined(*side)) return undefined_error(*side);
  }
  if (op == BinaryOp::kAdd) return add(work, left, right);
  if (is_number(left) && is_number(right)) return numbers(op, left, right);
  if (op == BinaryOp::kMultiply) return multiply(work, left, right);
  return unsupported(op, left, right);
}

absl::StatusOr<Value> negative(const Value& value) {
  if (is_undefined(value)) return undefined_error(value);
  if (is_integer(value)) return integers(BinaryOp::kSubtract, 0, integer_of(value));
  if (is_number(value)) return Value(-number_of(value));
  return invalid_argument("'-' does not work on {}", type_name(value));
}

absl::StatusOr<Value> positive(const Value& value) {
  if (is_undefined(value)) return undefined_error(value);
  if (const bool* flag = std::get_if<bool>(&value)) return Value(int64_t{*flag});
  if (is_number(value)) return value;
  return invalid_argument("'+' does not work on {}", type_name(value));
}

}  // namespace millrace::jinja
