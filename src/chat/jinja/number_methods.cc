#include <bit>
#include <cmath>
#include <numeric>

#include "chat/jinja/integers.h"
#include "chat/jinja/methods.h"

namespace millrace::jinja {

namespace {

using Given = const Arguments&;

// The number itself; of a bool the integer.
Value real_part(const Value& number) {
  if (const bool* flag = std::get_if<bool>(&number)) return Value(int64_t{*flag});
  return number;
}

absl::StatusOr<Value> conjugate(Workspace&, const Value& self, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("conjugate", given));
  return real_part(self);
}

absl::StatusOr<Value> bit_length(Workspace&, const Value& self, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("bit_length", given));
  return Value(big_of(self).bits());
}

absl::StatusOr<Value> bit_count(Workspace&, const Value& self, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("bit_count", given));
  const BigInt number = big_of(self);
  return Value(
      std::accumulate(number.limbs().begin(), number.limbs().end(), int64_t{0},
                      [](int64_t count, uint32_t limb) { return count + std::popcount(limb); }));
}

absl::StatusOr<Value> is_whole(Workspace&, const Value& self, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("is_integer", given));
  const double number = std::get<double>(self);
  return Value(std::isfinite(number) && std::trunc(number) == number);
}

constexpr Method kIntegerMethods[] = {
    {"bit_count", bit_count},
    {"bit_length", bit_length},
    {"conjugate", conjugate},
};
constexpr Method kFloatMethods[] = {{"conjugate", conjugate}, {"is_integer", is_whole}};

}  // namespace

std::span<const Method> integer_methods() { return kIntegerMethods; }
std::span<const Method> float_methods() { return kFloatMethods; }

std::optional<Value> part_of_number(const Value& number, std::string_view name) {
  const bool is_whole_number = is_integer(number);
  if (name == "real" || (is_whole_number && name == "numerator")) return real_part(number);
  if (name == "imag") return is_whole_number ? Value(int64_t{0}) : Value(0.0);
  if (is_whole_number && name == "denominator") return Value(int64_t{1});
  return std::nullopt;
}

}  // namespace millrace::jinja
