#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>

#include "chat/jinja/access.h"
#include "chat/jinja/arithmetic.h"
#include "chat/jinja/compare.h"
#include "chat/jinja/filters.h"
#include "chat/jinja/integers.h"
#include "chat/jinja/json.h"
#include "chat/jinja/number_format.h"
#include "chat/jinja/print.h"
#include "chat/jinja/text_ops.h"
#include "chat/jinja/text_search.h"

namespace millrace::jinja {

namespace {

using Given = const Arguments&;

absl::StatusOr<Value> default_filter(Workspace&, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound,
                   bind_arguments("default", given, {"default_value", "boolean"}));
  const bool is_missing =
      is_undefined(value) || (flag_argument(bound[1], false) && !is_true(value));
  if (!is_missing) return value;
  return bound[0] == nullptr ? Value(Text{}) : *bound[0];
}

// What Python's int() and float() read: white space around, one underscore between digits.
struct NumberText {
  bool is_negative = false;
  std::string digits;  // and whatever else follows the sign
};
NumberText number_text(std::string_view text) {
  while (!text.empty() && is_space(code_point_at(text, 0).value)) {
    text.remove_prefix(code_point_at(text, 0).size);
  }
  while (!text.empty() &&
         is_space(code_point_at(text, previous_boundary(text, text.size())).value)) {
    text = text.substr(0, previous_boundary(text, text.size()));
  }
  NumberText number;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    number.is_negative = text[0] == '-';
    text.remove_prefix(1);
  }
  const auto is_word = [&](size_t at) {
    return at < text.size() && std::isalnum(static_cast<uint8_t>(text[at])) != 0;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const bool joins = text[i] == '_' && i > 0 && is_word(i - 1) && is_word(i + 1);
    if (!joins) number.digits += text[i];
  }
  return number;
}

bool are_digits(std::string_view text, uint32_t base) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    const int digit = std::isdigit(static_cast<uint8_t>(c)) != 0   ? c - '0'
                      : std::isalpha(static_cast<uint8_t>(c)) != 0 ? (c | 32) - 'a' + 10
                                                                   : 99;
    return digit < static_cast<int>(base);
  });
}

// int(text, base); nothing where Python raises ValueError.
absl::StatusOr<std::optional<Value>> parse_integer(Workspace& work, std::string_view text,
                                                   uint32_t base) {
  struct Prefix {
    std::string_view lower, upper;
    uint32_t base;
  };
  constexpr Prefix kPrefixes[] = {{"0x", "0X", 16}, {"0o", "0O", 8}, {"0b", "0B", 2}};
  NumberText number = number_text(text);
  std::string_view digits = number.digits;
  const uint32_t wanted = base;
  if (base == 0) base = 10;
  for (const Prefix& each : kPrefixes) {
    const bool is_there = digits.starts_with(each.lower) || digits.starts_with(each.upper);
    if (!is_there || (wanted != 0 && wanted != each.base)) continue;
    digits.remove_prefix(2);
    base = each.base;
    break;
  }
  if (!are_digits(digits, base)) return std::nullopt;
  const bool is_zero = digits.find_first_not_of('0') == std::string_view::npos;
  if (wanted == 0 && base == 10 && digits[0] == '0' && !is_zero) return std::nullopt;
  ASSIGN_OR_RETURN(Value value, parse_digits(work, digits, base, number.is_negative));
  return value;
}

std::optional<double> parse_float(std::string_view text) {
  const NumberText number = number_text(text);
  const std::string& digits = number.digits;
  if (digits.empty() || digits.find_first_of("(xX-+") == 0) return std::nullopt;
  if (digits.find_first_of("(xX") != std::string::npos) return std::nullopt;
  double value = 0;
  const char* end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, value);
  if (result.ptr != end || result.ec == std::errc::invalid_argument) return std::nullopt;
  if (result.ec == std::errc::result_out_of_range) value = std::strtod(digits.c_str(), nullptr);
  return number.is_negative ? -value : value;
}

// A digit of a number is copied, and then read with all that came before it.
absl::Status spend_reading(Workspace& work, const Text& text) {
  return work.spend(4 + int64_t{text.size} / 2);
}

// int(text, base), else int(float(text)), else the fallback: "42.23" gives 42.
absl::StatusOr<Value> int_of_text(Workspace& work, const Text& text, const Value* base,
                                  const Value& fallback) {
  RETURN_IF_ERROR(spend_reading(work, text));
  const bool is_base = base == nullptr || fits_int64(*base);
  const int64_t given = base == nullptr ? 10 : is_base ? integer_of(*base) : -1;
  if (given == 0 || (given >= 2 && given <= 36)) {
    ASSIGN_OR_RETURN(const std::optional<Value> integer,
                     parse_integer(work, text.view(), static_cast<uint32_t>(given)));
    if (integer.has_value()) return *integer;
  }
  const std::optional<double> number = parse_float(text.view());
  if (!number.has_value() || !std::isfinite(*number)) return fallback;
  return whole_part(work, *number);
}

absl::StatusOr<Value> int_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("int", given, {"default", "base"}));
  const Value fallback = bound[0] == nullptr ? Value(int64_t{0}) : *bound[0];
  if (is_undefined(value)) return undefined_error(value);
  if (const bool* flag = std::get_if<bool>(&value)) return Value(int64_t{*flag});
  if (is_integer(value)) return value;
  if (const Text* text = as_text(value)) return int_of_text(work, *text, bound[1], fallback);
  if (!is_number(value) || std::isnan(number_of(value))) return fallback;
  return whole_part(work, number_of(value));
}

absl::StatusOr<Value> float_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("float", given, {"default"}));
  if (is_undefined(value)) return undefined_error(value);
  if (is_number(value)) {
    ASSIGN_OR_RETURN(const double number, float_of(value));
    return Value(number);
  }
  if (const Text* text = as_text(value)) {
    RETURN_IF_ERROR(spend_reading(work, *text));
    if (const auto number = parse_float(text->view())) return Value(*number);
  }
  return bound[0] == nullptr ? Value(0.0) : *bound[0];
}

absl::StatusOr<Value> abs_filter(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("abs", given));
  if (is_undefined(value)) return undefined_error(value);
  if (is_integer(value)) {
    return is_negative_integer(value) ? negative(work, value) : positive(value);
  }
  if (is_number(value)) return Value(std::abs(number_of(value)));
  return invalid_argument("abs does not work on {}", type_name(value));
}

// round-half-even of the exact decimal value, as Python's round().
double round_half_even(double number, int64_t digits) {
  constexpr int64_t kDigitsMax = 330;
  if (!std::isfinite(number) || digits > kDigitsMax) return number;
  if (digits < -kDigitsMax) return std::copysign(0.0, number);
  if (digits < 0) {
    const double scale = std::pow(10.0, static_cast<double>(-digits));
    return std::isinf(scale) ? std::copysign(0.0, number) : std::nearbyint(number / scale) * scale;
  }
  return std::strtod(fmt::format("{:.{}f}", number, digits).c_str(), nullptr);
}

// To a multiple of 10^places; halves go to the even one.
absl::StatusOr<Value> round_integer(Workspace& work, const Value& value, int64_t places) {
  if (places > work.limits().integer_bits_max / 4) return Value(int64_t{0});
  ASSIGN_OR_RETURN(const Value scale,
                   binary_integers(work, BinaryOp::kPower, Value(int64_t{10}), Value(places)));
  const BigInt unit = big_of(scale);
  RETURN_IF_ERROR(work.spend(1 + std::ssize(unit.limbs()) * std::ssize(big_of(value).limbs()) / 8));
  BigDivision division = floor_divide(big_of(value), unit);
  const BigInt twice = division.remainder + division.remainder;
  const bool is_odd = !division.quotient.is_zero() && (division.quotient.limbs()[0] & 1) != 0;
  if (twice > unit || (twice == unit && is_odd)) {
    division.quotient = division.quotient + BigInt(int64_t{1});
  }
  return make_integer(work, division.quotient * unit);
}

// method(value * 10**digits) / 10**digits
absl::StatusOr<Value> round_towards(Workspace& work, const Value& value, int64_t digits,
                                    bool is_up) {
  ASSIGN_OR_RETURN(const Value scale,
                   binary(work, BinaryOp::kPower, Value(int64_t{10}), Value(digits)));
  ASSIGN_OR_RETURN(Value scaled, binary(work, BinaryOp::kMultiply, value, scale));
  if (const double* number = std::get_if<double>(&scaled)) {
    ASSIGN_OR_RETURN(scaled, whole_part(work, is_up ? std::ceil(*number) : std::floor(*number)));
  }
  return binary(work, BinaryOp::kDivide, scaled, scale);
}

absl::StatusOr<Value> round_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("round", given, {"precision", "method"}));
  const bool is_whole = bound[0] != nullptr && is_none(*bound[0]);
  ASSIGN_OR_RETURN(const int64_t digits,
                   integer_argument(is_whole ? nullptr : bound[0], 0, "the precision of round"));
  ASSIGN_OR_RETURN(const Text method,
                   text_argument(bound[1], make_view("common"), "the method of round"));
  if (is_undefined(value)) return undefined_error(value);
  if (!is_number(value)) return invalid_argument("round does not work on {}", type_name(value));
  if (method.view() != "common" && method.view() != "ceil" && method.view() != "floor") {
    return invalid_argument("the method of round must be 'common', 'ceil' or 'floor'");
  }
  if (method.view() != "common") {
    return round_towards(work, value, digits, method.view() == "ceil");
  }
  if (is_integer(value)) return digits < 0 ? round_integer(work, value, -digits) : positive(value);
  if (is_whole) return whole_part(work, std::nearbyint(number_of(value)));
  RETURN_IF_ERROR(spend_float_digits(work, number_of(value), std::min<int64_t>(digits, 330)));
  const double rounded = round_half_even(number_of(value), digits);
  if (std::isinf(rounded) && std::isfinite(number_of(value))) {
    return invalid_argument("the rounded number is too large for a float");
  }
  return Value(rounded);
}

absl::StatusOr<Value> file_size_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("filesizeformat", given, {"binary"}));
  const bool is_binary = flag_argument(bound[0], false);
  if (is_undefined(value)) return undefined_error(value);
  double bytes = 0;
  if (is_number(value)) {
    ASSIGN_OR_RETURN(bytes, float_of(value));
  } else if (const Text* text = as_text(value)) {
    RETURN_IF_ERROR(spend_reading(work, *text));
    const std::optional<double> number = parse_float(text->view());
    if (!number.has_value()) return invalid_argument("filesizeformat needs a number");
    bytes = *number;
  } else {
    return invalid_argument("filesizeformat needs a number, got {}", type_name(value));
  }
  RETURN_IF_ERROR(work.spend(4));
  const double base = is_binary ? 1024 : 1000;
  if (bytes == 1) return Value(make_view("1 Byte"));
  if (bytes < base) {
    ASSIGN_OR_RETURN(const Value whole, whole_part(work, bytes));
    ASSIGN_OR_RETURN(const std::string digits, integer_text(work, whole));
    return Value(work.copy(digits + " Bytes"));
  }
  constexpr std::string_view kPrefixes = "kMGTPEZY";
  double unit = base;
  size_t prefix = 0;
  do {
    unit *= base;
  } while (!(bytes < unit) && ++prefix < kPrefixes.size());
  const char letter = kPrefixes[std::min(prefix, kPrefixes.size() - 1)];
  const std::string name =
      is_binary ? fmt::format("{}iB", letter == 'k' ? 'K' : letter) : fmt::format("{}B", letter);
  return Value(work.copy(fmt::format("{:.1f} {}", base * bytes / unit, name)));
}

absl::StatusOr<Text> indent_of(Workspace& work, const Value& indent) {
  if (const Text* text = as_text(indent)) return *text;
  ASSIGN_OR_RETURN(const int64_t width, integer_argument(&indent, 0, "the indent of tojson"));
  RETURN_IF_ERROR(work.expect_text(width));
  ASSIGN_OR_RETURN(const Value spaces, pad(work, Text{}, width, make_view(" "), Side::kLeft));
  return std::get<Text>(spaces);
}

// transformers gives chat templates json.dumps, not jinja2's own filter, which escapes HTML.
absl::StatusOr<Value> tojson_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(
      const auto bound,
      bind_arguments("tojson", given, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.is_ascii = flag_argument(bound[0], false);
  style.is_sorted = flag_argument(bound[3], false);
  if (bound[1] != nullptr && !is_none(*bound[1])) {
    ASSIGN_OR_RETURN(style.indent, indent_of(work, *bound[1]));
    style.item_separator = make_view(",");
  }
  if (bound[2] != nullptr && !is_none(*bound[2])) {
    ASSIGN_OR_RETURN(const std::span<const Value> pair, items_of(work, *bound[2]));
    if (pair.size() != 2) return invalid_argument("the separators of tojson must be two strings");
    ASSIGN_OR_RETURN(const Text item, text_argument(&pair[0], {}, "a separator of tojson"));
    ASSIGN_OR_RETURN(const Text key, text_argument(&pair[1], {}, "a separator of tojson"));
    style.item_separator = item;
    style.key_separator = key;
  }
  return to_json(work, value, style);
}

constexpr Filter kFilters[] = {
    {"abs", abs_filter},
    {"d", default_filter},
    {"default", default_filter},
    {"float", float_filter},
    {"int", int_filter},
    {"round", round_filter},
    {"filesizeformat", file_size_filter},
    {"tojson", tojson_filter},
};

}  // namespace

std::span<const Filter> value_filters() { return kFilters; }

}  // namespace millrace::jinja
