#include "chat/jinja/number_format.h"

#include <algorithm>
#include <cmath>

#include "chat/jinja/integers.h"
#include "chat/jinja/print.h"
#include "chat/jinja/text_search.h"
#include "text/unicode/unicode.h"

namespace millrace::jinja {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_align(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }
bool is_one_of(char c, std::string_view letters) {
  return c != '\0' && letters.find(c) != std::string_view::npos;
}

// A number in parts: what comes before its digits, the digits that are grouped, and the rest.
struct NumberParts {
  std::string sign;
  std::string prefix;
  std::string digits;
  std::string rest;
};

struct Base {
  char type;
  uint32_t base;
  std::string_view prefix;
};
constexpr Base kBases[] = {{'x', 16, "0x"}, {'X', 16, "0X"}, {'o', 8, "0o"}, {'b', 2, "0b"}};

absl::StatusOr<NumberParts> integer_parts(Workspace& work, const Value& value,
                                          const FormatSpec& spec) {
  NumberParts parts;
  const auto* known = std::find_if(std::begin(kBases), std::end(kBases),
                                   [&](const Base& each) { return each.type == spec.type; });
  const bool has_base = known != std::end(kBases);
  ASSIGN_OR_RETURN(parts.digits, integer_text(work, value, has_base ? known->base : 10));
  if (has_base && spec.is_alternate) parts.prefix = known->prefix;
  if (parts.digits.starts_with('-')) {
    parts.sign = "-";
    parts.digits.erase(0, 1);
  }
  if (spec.type == 'X') {
    for (char& c : parts.digits) c = c >= 'a' ? static_cast<char>(c - 32) : c;
  }
  return parts;
}

// What format() does without a type, but with a precision: as 'g', with a digit behind the point
// and the exponent one place earlier.
std::string general_float(double number, int64_t precision) {
  precision = std::max<int64_t>(precision, 1);
  std::string text = fmt::format("{:.{}e}", number, precision - 1);
  const int exponent = std::atoi(text.c_str() + text.find('e') + 1);
  const auto without_zeros = [](std::string digits) {
    if (digits.find('.') == std::string::npos) return digits;
    digits.erase(digits.find_last_not_of('0') + 1);
    if (digits.ends_with('.')) digits.pop_back();
    return digits;
  };
  if (exponent < -4 || exponent >= precision - 1) {
    const size_t e = text.find('e');
    return without_zeros(text.substr(0, e)) + text.substr(e);
  }
  text = without_zeros(fmt::format("{:.{}f}", number, precision - 1 - exponent));
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

// What '#' asks for: a point in every case, and of 'g' the zeros that it would drop.
void keep_point(std::string& text, char type, int64_t precision) {
  const size_t end = std::min(text.find_first_of("eE"), text.size());
  std::string digits = text.substr(0, end);
  if (digits.find('.') == std::string::npos) digits += '.';
  if (type == 'g' || type == 'G') {
    // Significant digits begin at the first one that is not 0; of zero itself all count.
    const size_t first = std::min(digits.find_first_not_of("0."), digits.size());
    const bool is_zero = first == digits.size();
    const auto is_digit_char = [](char c) { return is_digit(c); };
    const auto counted = std::count_if(digits.begin() + static_cast<ptrdiff_t>(is_zero ? 0 : first),
                                       digits.end(), is_digit_char);
    const int64_t wanted = std::max<int64_t>(precision, 1);
    if (counted < wanted) digits.append(static_cast<size_t>(wanted - counted), '0');
  }
  text = digits + text.substr(end);
}

NumberParts float_parts(double number, const FormatSpec& spec) {
  NumberParts parts;
  if (std::signbit(number) && !std::isnan(number)) parts.sign = "-";
  const double magnitude = std::abs(number) * (spec.type == '%' ? 100 : 1);
  std::string text;
  if (!std::isfinite(number)) {
    text = std::isnan(number) ? "nan" : "inf";
    if (is_one_of(spec.type, "EFG")) text = std::isnan(number) ? "NAN" : "INF";
    // Zeros before them count as padding, commas do not come in.
    parts.rest = text + (spec.type == '%' ? "%" : "");
    return parts;
  }
  const char type = spec.type == '%' ? 'f' : spec.type == 'n' ? 'g' : spec.type;
  if (type == '\0') {
    text = spec.precision.has_value() ? general_float(magnitude, *spec.precision)
                                      : float_repr(magnitude);
  } else {
    const std::string pattern = fmt::format("{{:.{}{}}}", spec.precision.value_or(6), type);
    text = fmt::format(fmt::runtime(pattern), magnitude);
    if (spec.is_alternate) keep_point(text, type, spec.precision.value_or(6));
  }
  if (spec.type == '%') text += '%';
  const size_t end = std::min(text.find_first_not_of("0123456789"), text.size());
  parts.digits = text.substr(0, end);
  parts.rest = text.substr(end);
  return parts;
}

// Separators between groups from the right, with zeros before until so many characters are there.
std::string grouped(const std::string& digits, char separator, size_t group, int64_t width) {
  std::string reversed;
  size_t count = 0;
  const auto add = [&](char digit) {
    if (count > 0 && count % group == 0) reversed += separator;
    reversed += digit;
    ++count;
  };
  for (auto at = digits.rbegin(); at != digits.rend(); ++at) add(*at);
  while (std::ssize(reversed) < width) add('0');
  return {reversed.rbegin(), reversed.rend()};
}

absl::Status no_format(char type, const Value& value) {
  return invalid_argument("the format '{}' does not work on {}", type, type_name(value));
}

absl::StatusOr<NumberParts> parts_of(Workspace& work, const Value& value, const FormatSpec& spec) {
  if (is_integer(value) && (spec.type == '\0' || is_one_of(spec.type, "dnxXob"))) {
    if (spec.precision.has_value()) {
      return invalid_argument("a format of an integer has no precision");
    }
    return integer_parts(work, value, spec);
  }
  if (!is_one_of(spec.type, "eEfFgGn%") && (spec.type != '\0' || is_integer(value))) {
    return no_format(spec.type, value);
  }
  ASSIGN_OR_RETURN(const double number, float_of(value));
  RETURN_IF_ERROR(spend_float_digits(work, number, spec.precision.value_or(6)));
  return float_parts(number, spec);
}

// The character of a code point ('c').
absl::Status append_character(TextBuilder& out, Workspace& work, const Value& value,
                              const FormatSpec& spec) {
  if (!is_integer(value)) return no_format('c', value);
  if (spec.precision.has_value() || spec.sign != '\0' || spec.is_alternate ||
      spec.grouping != '\0') {
    return invalid_argument("the format 'c' takes neither a sign nor a precision");
  }
  ASSIGN_OR_RETURN(const std::string character, character_of(value));
  return append_padded(out, work, make_view(character), spec, '>');
}

absl::Status append_string(TextBuilder& out, Workspace& work, Text text, const FormatSpec& spec) {
  if (spec.type != '\0' && spec.type != 's') return no_format(spec.type, Value(text));
  if (spec.sign != '\0' || spec.is_alternate || spec.grouping != '\0' || spec.align == '=') {
    return invalid_argument("a format of a string has no sign, '#', grouping or '='");
  }
  RETURN_IF_ERROR(work.spend_bytes(text.size));
  if (spec.precision.has_value()) {
    text = slice(work, text, 0, offset_of(text.view(), *spec.precision));
  }
  return append_padded(out, work, text, spec, '<');
}

}  // namespace

absl::Status spend_float_digits(Workspace& work, double number, int64_t digits) {
  constexpr double kDigitsPerBit = 0.30103;  // log10(2)
  int exponent = 0;
  if (std::isfinite(number)) std::frexp(number, &exponent);
  const auto before = static_cast<int64_t>(std::abs(exponent) * kDigitsPerBit);
  return work.spend(2 + 2 * before + std::max<int64_t>(digits, 0));
}

absl::StatusOr<int64_t> read_count(std::string_view text, size_t& at) {
  constexpr int64_t kCountMax = 1'000'000;
  int64_t count = 0;
  for (; at < text.size() && is_digit(text[at]); ++at) {
    count = count * 10 + (text[at] - '0');
    if (count > kCountMax) return resource_exhausted("a format's width is beyond {}", kCountMax);
  }
  return count;
}

absl::StatusOr<FormatSpec> parse_format_spec(Workspace& work, const Text& spec_text) {
  const std::string_view text = spec_text.view();
  FormatSpec spec;
  size_t at = 0;
  const auto take = [&](std::string_view letters) {
    return at < text.size() && is_one_of(text[at], letters) ? text[at++] : '\0';
  };
  const size_t first = text.empty() ? 0 : code_point_at(text, 0).size;
  const bool has_fill = first > 0 && text.size() > first && is_align(text[first]);
  if (has_fill) {
    spec.fill = slice(work, spec_text, 0, first);
    at = first;
  }
  spec.align = take("<>^=");
  if (const char sign = take("+- ")) spec.sign = sign == '-' ? FormatSpec::kPlainSign : sign;
  if (take("z") != '\0') return unimplemented("the format option 'z' is not supported");
  spec.is_alternate = take("#") != '\0';
  if (!has_fill && take("0") != '\0') {
    spec.fill = make_view("0");
    spec.zero_pads = spec.align == '\0';
  }
  ASSIGN_OR_RETURN(spec.width, read_count(text, at));
  spec.grouping = take(",_");
  if (take(".") != '\0') {
    if (at >= text.size() || !is_digit(text[at])) {
      return invalid_argument("the format '{}' has no precision behind its point", text);
    }
    ASSIGN_OR_RETURN(spec.precision, read_count(text, at));
  }
  if (at < text.size()) spec.type = text[at++];
  if (at < text.size()) return invalid_argument("the format '{}' is not a format", text);
  const bool in_fours = is_one_of(spec.type, "xXob");
  if (spec.grouping != '\0' &&
      (is_one_of(spec.type, "cns") || (spec.grouping == ',' && in_fours))) {
    return invalid_argument("the format '{}' takes no '{}'", text, spec.grouping);
  }
  return spec;
}

absl::Status append_number(TextBuilder& out, Workspace& work, const Value& value,
                           const FormatSpec& spec) {
  ASSIGN_OR_RETURN(NumberParts parts, parts_of(work, value, spec));
  if (parts.sign.empty() && (spec.sign == '+' || spec.sign == ' ')) parts.sign = spec.sign;
  const char align = spec.align != '\0' ? spec.align : spec.zero_pads ? '=' : '>';
  const std::string head = parts.sign + parts.prefix;
  int64_t zeros = 0;
  if (align == '=') {
    zeros = spec.width - std::ssize(head) - std::ssize(parts.rest);
    RETURN_IF_ERROR(work.expect_text(zeros));
    RETURN_IF_ERROR(work.spend(std::max<int64_t>(zeros, 0) / 16));
  }
  const bool is_zero_filled = align == '=' && spec.fill.view() == "0";
  if (spec.grouping != '\0' && !parts.digits.empty()) {
    const size_t group = is_one_of(spec.type, "xXob") ? 4 : 3;
    parts.digits = grouped(parts.digits, spec.grouping, group, is_zero_filled ? zeros : 0);
  }
  if (align != '=') {
    return append_padded(out, work, make_view(head + parts.digits + parts.rest), spec, '>');
  }
  out.append(head);
  out.append_repeated(spec.fill, zeros - std::ssize(parts.digits));
  out.append(parts.digits + parts.rest);
  return absl::OkStatus();
}

absl::Status append_padded(TextBuilder& out, Workspace& work, const Text& body,
                           const FormatSpec& spec, char default_align) {
  const char align = spec.align != '\0' ? spec.align : default_align;
  const int64_t missing = std::max<int64_t>(spec.width - count_code_points(body.view()), 0);
  RETURN_IF_ERROR(work.spend(missing / 16));
  const int64_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  out.append_repeated(spec.fill, left);
  out.append(body);
  out.append_repeated(spec.fill, missing - left);
  return absl::OkStatus();
}

absl::StatusOr<std::string> character_of(const Value& value) {
  const int64_t code_point = fits_int64(value) ? integer_of(value) : -1;
  if (code_point < 0 || code_point > 0x10FFFF) {
    return invalid_argument("the format 'c' needs a character's number");
  }
  if (code_point >= 0xD800 && code_point <= 0xDFFF) {
    return unimplemented("halves of surrogate pairs are not supported");
  }
  std::string character;
  append_utf8(static_cast<char32_t>(code_point), character);
  return character;
}

absl::Status append_formatted(TextBuilder& out, Workspace& work, const Value& value,
                              const FormatSpec& spec) {
  if (const Text* text = as_text(value)) return append_string(out, work, *text, spec);
  if (!is_number(value)) {
    return invalid_argument("a {} takes no format specification", type_name(value));
  }
  if (spec.type == 'c') return append_character(out, work, value, spec);
  return append_number(out, work, value, spec);
}

}  // namespace millrace::jinja
