#include "chat/jinja/integers.h"

#include <cmath>

namespace millrace::jinja {

namespace {

absl::Status too_large(const Workspace& work) {
  return resource_exhausted("the template makes an integer of more than {} bits",
                            work.limits().integer_bits_max);
}

absl::Status division_by_zero() { return invalid_argument("division by zero"); }

// Products and quotients of so many limbs; some 30 steps of a product take as long as one step of
// the evaluator.
absl::Status spend_product(Workspace& work, size_t left_limbs, size_t right_limbs) {
  return work.spend(1 + static_cast<int64_t>(left_limbs * right_limbs) / 32);
}

absl::StatusOr<Value> power(Workspace& work, const Value& base, const Value& exponent) {
  if (is_negative_integer(exponent)) {
    if (fits_int64(base) && integer_of(base) == 0) {
      return invalid_argument("0 cannot be raised to a negative power");
    }
    ASSIGN_OR_RETURN(const double from, float_of(base));
    ASSIGN_OR_RETURN(const double to, float_of(exponent));
    return Value(std::pow(from, to));
  }
  BigInt factor = big_of(base);
  BigInt result(int64_t{1});
  if (factor.bits() <= 1) {  // -1, 0, 1
    const bool is_odd = !big_of(exponent).is_zero() && (big_of(exponent).limbs()[0] & 1) != 0;
    if (big_of(exponent).is_zero()) return Value(int64_t{1});
    return make_integer(work, factor.is_negative() && !is_odd ? -factor : factor);
  }
  if (!fits_int64(exponent)) return too_large(work);
  int64_t left = integer_of(exponent);
  if (left > work.limits().integer_bits_max / (factor.bits() - 1)) return too_large(work);
  while (left > 0) {
    RETURN_IF_ERROR(spend_product(work, factor.limbs().size(), factor.limbs().size()));
    RETURN_IF_ERROR(spend_product(work, result.limbs().size(), factor.limbs().size()));
    if (left % 2 == 1) result = result * factor;
    left /= 2;
    if (left > 0) factor = factor * factor;
  }
  return make_integer(work, result);
}

absl::StatusOr<Value> big_integers(Workspace& work, BinaryOp op, const Value& left,
                                   const Value& right) {
  if (op == BinaryOp::kPower) return power(work, left, right);
  const BigInt a = big_of(left);
  const BigInt b = big_of(right);
  RETURN_IF_ERROR(spend_product(work, a.limbs().size(), b.limbs().size()));
  switch (op) {
    case BinaryOp::kAdd:
      return make_integer(work, a + b);
    case BinaryOp::kSubtract:
      return make_integer(work, a - b);
    case BinaryOp::kMultiply:
      return make_integer(work, a * b);
    default:
      break;
  }
  if (b.is_zero()) return division_by_zero();
  if (op == BinaryOp::kFloorDivide) return make_integer(work, floor_divide(a, b).quotient);
  if (op == BinaryOp::kModulo) return make_integer(work, floor_divide(a, b).remainder);
  const double quotient = a.is_zero() ? 0.0 : true_quotient(a, b);
  if (std::isinf(quotient)) return invalid_argument("the quotient is too large for a float");
  return Value(quotient);
}

// What fits into 64 bits; nothing where the result, or what leads to it, does not. Python rounds
// quotients towards minus infinity; the remainder has the divisor's sign.
std::optional<Value> small_integers(BinaryOp op, int64_t left, int64_t right) {
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
    case BinaryOp::kFloorDivide:
    case BinaryOp::kModulo: {
      if (right == 0 || right == -1) return std::nullopt;
      const int64_t rest = left % right;
      const bool is_below = rest != 0 && (rest < 0) != (right < 0);
      result = op == BinaryOp::kModulo ? (is_below ? rest + right : rest)
                                       : left / right - (is_below ? 1 : 0);
      break;
    }
    case BinaryOp::kDivide: {
      constexpr int64_t kExactMax = int64_t{1} << 53;
      const auto is_exact = [](int64_t number) {
        return number < kExactMax && number > -kExactMax;
      };
      if (right == 0 || !is_exact(left) || !is_exact(right)) return std::nullopt;
      return Value(static_cast<double>(left) / static_cast<double>(right));
    }
    case BinaryOp::kPower:
      overflows = true;
      break;
  }
  if (overflows) return std::nullopt;
  return Value(result);
}

}  // namespace

BigInt big_of(const Value& integer) {
  if (const auto* big = std::get_if<const Big*>(&integer)) {
    return BigInt((*big)->limbs, (*big)->is_negative);
  }
  return BigInt(integer_of(integer));
}

absl::StatusOr<Value> make_integer(Workspace& work, const BigInt& number) {
  if (const std::optional<int64_t> small = number.to_int64()) return Value(*small);
  if (number.bits() > work.limits().integer_bits_max) return too_large(work);
  const std::span<uint32_t> limbs = work.arena().make_array<uint32_t>(number.limbs().size());
  std::copy(number.limbs().begin(), number.limbs().end(), limbs.begin());
  return Value(static_cast<const Big*>(work.arena().make<Big>(limbs, number.is_negative())));
}

absl::StatusOr<Value> parse_digits(Workspace& work, std::string_view digits, uint32_t base,
                                   bool is_negative) {
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size() - 1));
  if (std::ssize(digits) > work.limits().integer_bits_max) return too_large(work);
  RETURN_IF_ERROR(spend_product(work, digits.size() / 8, digits.size() / 8));
  const BigInt number = BigInt::from_digits(digits, base);
  return make_integer(work, is_negative ? -number : number);
}

absl::StatusOr<Value> whole_part(Workspace& work, double number) {
  if (std::isnan(number)) return invalid_argument("a NaN is no integer");
  if (std::isinf(number)) return invalid_argument("infinity is no integer");
  return make_integer(work, BigInt::from_double(number));
}

absl::StatusOr<Value> binary_integers(Workspace& work, BinaryOp op, const Value& left,
                                      const Value& right) {
  if (fits_int64(left) && fits_int64(right)) {
    if (const auto small = small_integers(op, integer_of(left), integer_of(right))) return *small;
  }
  return big_integers(work, op, left, right);
}

absl::StatusOr<Value> negative_integer(Workspace& work, const Value& value) {
  if (fits_int64(value) && integer_of(value) != INT64_MIN) return Value(-integer_of(value));
  return make_integer(work, -big_of(value));
}

bool is_negative_integer(const Value& value) {
  if (const auto* big = std::get_if<const Big*>(&value)) return (*big)->is_negative;
  return integer_of(value) < 0;
}

absl::StatusOr<std::string> integer_text(Workspace& work, const Value& value, uint32_t base) {
  if (fits_int64(value) && base == 10) return fmt::format_int(integer_of(value)).str();
  const BigInt number = big_of(value);
  RETURN_IF_ERROR(spend_product(work, number.limbs().size(), number.limbs().size() * 2));
  return number.to_string(base);
}

absl::StatusOr<double> float_of(const Value& number) {
  const double result = number_of(number);
  if (std::isinf(result) && is_integer(number)) {
    return invalid_argument("the integer is too large for a float");
  }
  return result;
}

}  // namespace millrace::jinja
