#include <charconv>
#include <cmath>
#include <string>

#include "text/jinja/access.h"
#include "text/jinja/arithmetic.h"
#include "text/jinja/compare.h"
#include "text/jinja/filters.h"
#include "text/jinja/json.h"
#include "text/jinja/print.h"
#include "text/jinja/text_ops.h"

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
std::string number_literal(std::string_view text) {
  while (!text.empty() && text.front() <= ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() <= ' ') text.remove_suffix(1);
  if (text.starts_with('+') && !text.starts_with("+-") && !text.starts_with("++")) {
    text.remove_prefix(1);
  }
  std::string literal;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool joins = text[i] == '_' && i > 0 && i + 1 < text.size() &&
                       std::isdigit(static_cast<uint8_t>(text[i - 1])) != 0 &&
                       std::isdigit(static_cast<uint8_t>(text[i + 1])) != 0;
    if (!joins) literal += text[i];
  }
  return literal;
}

std::optional<int64_t> parse_integer(std::string_view text, int base) {
  std::string literal = number_literal(text);
  if (base == 0 || base == 2 || base == 8 || base == 16) {
    const bool is_negative = literal.starts_with('-');
    const size_t at = is_negative ? 1 : 0;
    const std::string prefix = literal.substr(at, 2);
    const int of_prefix = prefix == "0x" || prefix == "0X"   ? 16
                          : prefix == "0o" || prefix == "0O" ? 8
                          : prefix == "0b" || prefix == "0B" ? 2
                                                             : 0;
    if (of_prefix != 0 && (base == 0 || base == of_prefix)) {
      literal.erase(at, 2);
      base = of_prefix;
    }
    if (base == 0) base = 10;
  }
  int64_t number = 0;
  const char* end = literal.data() + literal.size();
  const auto result = std::from_chars(literal.data(), end, number, base);
  if (result.ec != std::errc() || result.ptr != end || literal.empty()) return std::nullopt;
  return number;
}

std::optional<double> parse_float(std::string_view text) {
  const std::string literal = number_literal(text);
  if (literal.empty() || literal.find_first_of("(xX") != std::string::npos) return std::nullopt;
  double number = 0;
  const char* end = literal.data() + literal.size();
  const auto result = std::from_chars(literal.data(), end, number);
  if (result.ptr != end || result.ec == std::errc::invalid_argument) return std::nullopt;
  if (result.ec == std::errc::result_out_of_range) number = std::strtod(literal.c_str(), nullptr);
  return number;
}

std::optional<int64_t> truncated(double number) {
  if (!(number > -0x1p63 && number < 0x1p63)) return std::nullopt;
  return static_cast<int64_t>(number);
}

absl::StatusOr<Value> int_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("int", given, {"default", "base"}));
  ASSIGN_OR_RETURN(const int64_t base, integer_argument(bound[1], 10, "the base of int"));
  if (base != 0 && (base < 2 || base > 36)) return invalid_argument("the base of int is 2 to 36");
  const Value fallback = bound[0] == nullptr ? Value(int64_t{0}) : *bound[0];
  if (is_undefined(value)) return undefined_error(value);
  if (is_integer(value)) return Value(integer_of(value));
  std::optional<double> number;
  if (const Text* text = as_text(value)) {
    RETURN_IF_ERROR(work.spend_bytes(text->size, 16));
    if (const auto integer = parse_integer(text->view(), static_cast<int>(base))) {
      return Value(*integer);
    }
    number = parse_float(text->view());
    if (!number.has_value()) return fallback;
  } else if (const double* given_number = std::get_if<double>(&value)) {
    number = *given_number;
  }
  if (!number.has_value() || !std::isfinite(*number)) return fallback;
  const std::optional<int64_t> integer = truncated(*number);
  if (!integer.has_value()) {
    return resource_exhausted("the result of int does not fit into 64 bits");
  }
  return Value(*integer);
}

absl::StatusOr<Value> float_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("float", given, {"default"}));
  if (is_undefined(value)) return undefined_error(value);
  if (is_number(value)) return Value(number_of(value));
  if (const Text* text = as_text(value)) {
    RETURN_IF_ERROR(work.spend_bytes(text->size, 16));
    if (const auto number = parse_float(text->view())) return Value(*number);
  }
  return bound[0] == nullptr ? Value(0.0) : *bound[0];
}

absl::StatusOr<Value> abs_filter(Workspace&, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("abs", given));
  if (is_undefined(value)) return undefined_error(value);
  if (is_integer(value)) return integer_of(value) < 0 ? negative(value) : positive(value);
  if (is_number(value)) return Value(std::abs(number_of(value)));
  return invalid_argument("abs does not work on {}", type_name(value));
}

// round-half-even of the exact decimal value, as Python's round().
double round_half_even(double number, int64_t digits) {
  constexpr int64_t kDigitsMax = 300;
  if (!std::isfinite(number) || digits > kDigitsMax) return number;
  if (digits < 0) {
    const double scale = std::pow(10.0, static_cast<double>(std::min(-digits, kDigitsMax)));
    return std::nearbyint(number / scale) * scale;
  }
  return std::strtod(fmt::format("{:.{}f}", number, digits).c_str(), nullptr);
}

absl::StatusOr<Value> round_filter(Workspace&, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("round", given, {"precision", "method"}));
  ASSIGN_OR_RETURN(const int64_t digits, integer_argument(bound[0], 0, "the precision of round"));
  ASSIGN_OR_RETURN(const Text method,
                   text_argument(bound[1], make_view("common"), "the method of round"));
  if (is_undefined(value)) return undefined_error(value);
  if (!is_number(value)) return invalid_argument("round does not work on {}", type_name(value));
  if (method.view() == "common") {
    if (is_integer(value)) {
      if (digits < 0) return unimplemented("rounding integers to tens is not supported");
      return Value(integer_of(value));
    }
    return Value(round_half_even(number_of(value), digits));
  }
  if (method.view() != "ceil" && method.view() != "floor") {
    return invalid_argument("the method of round must be 'common', 'ceil' or 'floor'");
  }
  const double scale = std::pow(10.0, static_cast<double>(digits));
  const double scaled = number_of(value) * scale;
  return Value((method.view() == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
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
    {"abs", abs_filter},       {"d", default_filter}, {"default", default_filter},
    {"float", float_filter},   {"int", int_filter},   {"round", round_filter},
    {"tojson", tojson_filter},
};

}  // namespace

std::span<const Filter> value_filters() { return kFilters; }

}  // namespace millrace::jinja
