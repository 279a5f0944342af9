#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "chat/jinja/library/library.h"
#include "chat/jinja/values/operators.h"
#include "chat/jinja/values/text.h"

namespace millrace::jinja {

namespace {

absl::StatusOr<Value> default_value(Workspace&, Value value, const Value* fallback,
                                    bool replaces_false) {
  const bool is_missing = is_undefined(value) || (replaces_false && !is_true(value));
  if (!is_missing) return value;
  return fallback == nullptr ? Value(Text{}) : *fallback;
}

// Numbers.

// What Python's int() and float() read: white space around, one underscore between digits.
struct NumberText {
  bool is_negative = false;
  std::string digits;  // and whatever else follows the sign
};
absl::StatusOr<NumberText> number_of_text(Workspace& work, const Text& given) {
  // Each digit is copied and parsed.
  RETURN_IF_ERROR(work.spend(4 + int64_t{given.size} / 2));
  ASSIGN_OR_RETURN(const Text stripped, strip(work, given, nullptr, Side::kBoth));
  std::string_view text = stripped.view();
  NumberText number;
  if (text.starts_with('-') || text.starts_with('+')) {
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

std::optional<double> parse_float(const NumberText& number) {
  const std::string& digits = number.digits;
  if (digits.empty() || digits.find_first_of("-+") == 0) return std::nullopt;
  if (digits.find_first_of("(xX") != std::string::npos) return std::nullopt;
  double value = 0;
  const char* end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, value);
  if (result.ptr != end || result.ec == std::errc::invalid_argument) return std::nullopt;
  if (result.ec == std::errc::result_out_of_range) value = std::strtod(digits.c_str(), nullptr);
  return number.is_negative ? -value : value;
}

// int(text), else int(float(text)), else the fallback: "42.23" gives 42.
absl::StatusOr<Value> int_of_text(Workspace& work, const Text& text, const Value& fallback) {
  ASSIGN_OR_RETURN(const NumberText number, number_of_text(work, text));
  const std::string digits = (number.is_negative ? "-" : "") + number.digits;
  int64_t integer = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, integer);
  if (stop == end && error == std::errc() && !number.digits.starts_with('-')) return Value(integer);
  const std::optional<double> value = parse_float(number);
  if (!value.has_value() || !std::isfinite(*value)) return fallback;
  return whole_part(*value);
}

absl::StatusOr<Value> to_int(Workspace& work, Value value, const Value* given_fallback,
                             std::optional<int64_t> base) {
  if (base.value_or(10) != 10) {
    return unimplemented("int with a base other than 10 is not supported");
  }
  const Value fallback = given_fallback == nullptr ? Value(int64_t{0}) : *given_fallback;
  if (is_undefined(value)) return undefined_error(value);
  if (is_integer(value)) return Value(integer_of(value));
  if (const Text* text = as_text(value)) return int_of_text(work, *text, fallback);
  if (!is_number(value) || std::isnan(number_of(value))) return fallback;
  return whole_part(number_of(value));
}

absl::StatusOr<Value> to_float(Workspace& work, Value value, const Value* fallback) {
  if (is_undefined(value)) return undefined_error(value);
  if (is_number(value)) return Value(number_of(value));
  if (const Text* text = as_text(value)) {
    ASSIGN_OR_RETURN(const NumberText number, number_of_text(work, *text));
    if (const auto parsed = parse_float(number)) return Value(*parsed);
  }
  return fallback == nullptr ? Value(0.0) : *fallback;
}

absl::StatusOr<Value> absolute(Workspace&, Value value) {
  if (is_undefined(value)) return undefined_error(value);
  if (!is_number(value)) return invalid_argument("abs does not work on {}", type_name(value));
  if (is_integer(value)) return integer_of(value) < 0 ? negative(value) : positive(value);
  return Value(std::abs(number_of(value)));
}

absl::StatusOr<Value> round_number(Workspace& work, Value value, std::optional<int64_t> precision,
                                   std::optional<Text> method) {
  const int64_t digits = precision.value_or(0);
  if (is_undefined(value)) return undefined_error(value);
  if (!is_number(value)) return invalid_argument("round does not work on {}", type_name(value));
  if (method.has_value() && method->view() != "common") {
    return unimplemented("round's method '{}' is not supported", method->view());
  }
  if (digits < 0) return unimplemented("round with a negative precision is not supported");
  constexpr int64_t kDigitsMax = 330;  // a double has no more behind its point
  if (is_integer(value) || digits > kDigitsMax || !std::isfinite(number_of(value))) {
    return positive(value);
  }
  // Printing makes the digits before the point too.
  constexpr int64_t kStepsOfDigitsBefore = 600;
  const bool is_large = std::abs(number_of(value)) > 1e20;
  RETURN_IF_ERROR(work.spend(8 + digits + (is_large ? kStepsOfDigitsBefore : 0)));
  // Halves of the exact decimal value go to the even digit, as in Python.
  return Value(std::strtod(fmt::format("{:.{}f}", number_of(value), digits).c_str(), nullptr));
}

// JSON.

absl::StatusOr<Text> spaces(Workspace& work, const Value& indent, std::string_view what) {
  if (const Text* text = as_text(indent)) return *text;
  int64_t width = 0;
  RETURN_IF_ERROR(read_argument(work, {what, "indent"}, &indent, width));
  ASSIGN_OR_RETURN(const Value made, pad(work, Text{}, width, make_view(" "), Side::kLeft));
  return std::get<Text>(made);
}

// transformers gives chat templates json.dumps, not jinja2's own filter, which escapes HTML.
absl::StatusOr<Value> dump_json(Workspace& work, Value value, bool is_ascii,
                                std::optional<Value> indent, std::optional<Items> separators,
                                bool is_sorted) {
  JsonStyle style;
  style.is_ascii = is_ascii;
  style.is_sorted = is_sorted;
  if (indent.has_value()) {
    ASSIGN_OR_RETURN(style.indent, spaces(work, *indent, "tojson"));
    style.item_separator = make_view(",");
  }
  if (separators.has_value()) {
    const std::span<const Value> pair = separators->items;
    const bool are_texts =
        pair.size() == 2 && as_text(pair[0]) != nullptr && as_text(pair[1]) != nullptr;
    if (!are_texts) return invalid_argument("the separators of tojson must be two strings");
    style.item_separator = std::get<Text>(pair[0]);
    style.key_separator = std::get<Text>(pair[1]);
  }
  return to_json(work, value, style);
}

// Texts: these filters take any value and print it first.

template <Case kCase>
absl::StatusOr<Value> filter_case(Workspace& work, Printed given) {
  return change_case(work, given.text, kCase);
}

// jinja2 begins a word after each of these, where str.title would also do so after digits and
// apostrophes.
absl::StatusOr<Value> title(Workspace& work, Printed given) {
  const std::string_view view = given.text.view();
  const auto separates = [&](size_t at) {
    return std::string_view("-({[<").find(view[at]) != std::string_view::npos ||
           is_space(code_point_at(view, at).value);
  };
  TextBuilder out(work);
  for (size_t at = 0; at < view.size();) {
    size_t end = at + code_point_at(view, at).size;
    if (separates(at)) {
      out.append(slice(work, given.text, at, end));
    } else {
      while (end < view.size() && !separates(end)) end += code_point_at(view, end).size;
      RETURN_IF_ERROR(work.spend(8));
      const size_t first = at + code_point_at(view, at).size;
      ASSIGN_OR_RETURN(const Value head,
                       change_case(work, slice(work, given.text, at, first), Case::kUpper));
      ASSIGN_OR_RETURN(const Value rest,
                       change_case(work, slice(work, given.text, first, end), Case::kLower));
      out.append(std::get<Text>(head));
      out.append(std::get<Text>(rest));
    }
    at = end;
  }
  return out.finish();
}

absl::StatusOr<Value> trim(Workspace& work, Printed given, std::optional<Text> chars) {
  ASSIGN_OR_RETURN(const Text stripped,
                   strip(work, given.text, chars ? &*chars : nullptr, Side::kBoth));
  return Value(stripped);
}

absl::StatusOr<Value> replace_text(Workspace& work, Printed given, Printed old_part,
                                   Printed new_part, std::optional<int64_t> count) {
  given.text.is_markup = false;
  return replace(work, given.text, old_part.text, new_part.text, count.value_or(-1));
}

absl::StatusOr<Value> to_string(Workspace&, Printed given) { return Value(given.text); }

absl::StatusOr<Value> mark_safe(Workspace&, Printed given) {
  given.text.is_markup = true;
  return Value(given.text);
}

absl::StatusOr<Value> escape_html(Workspace& work, Printed given) {
  ASSIGN_OR_RETURN(const Text escaped, escape(work, given.text));
  return Value(escaped);
}

absl::StatusOr<Value> indent(Workspace& work, Text text, const Value* width, bool first,
                             bool blank) {
  const Value four = int64_t{4};
  ASSIGN_OR_RETURN(const Text indent, spaces(work, width == nullptr ? four : *width, "indent"));
  // The line end that jinja2 adds makes an empty text one line, and keeps a last empty one.
  ASSIGN_OR_RETURN(std::vector<Value> lines, split_lines(work, text, false));
  const auto ends_behind = [&](const Text& last) {
    return last.data + last.size != text.data + text.size;
  };
  if (text.size == 0 || (!lines.empty() && ends_behind(std::get<Text>(lines.back())))) {
    lines.emplace_back(Text{});
  }
  RETURN_IF_ERROR(work.spend(4 + std::ssize(lines)));
  TextBuilder out(work);
  for (size_t i = 0; i < lines.size(); ++i) {
    const Text& line = std::get<Text>(lines[i]);
    if (i > 0) out.append("\n");
    if (i == 0 ? first : (blank || line.size > 0)) out.append(indent);
    out.append(line);
  }
  return out.finish();
}

absl::StatusOr<Value> filter_format(Workspace& work, const Routine&, const Value& value,
                                    const Arguments& given) {
  if (!given.named.empty()) return unimplemented("named arguments of format are not supported");
  ASSIGN_OR_RETURN(const Text pattern, to_text(work, value));
  return format_percent(work, pattern, Value(work.tuple(given.positional)));
}

constexpr Routine kTextFilters[] = {
    {"abs", kTyped<absolute>},
    {"capitalize", kTyped<filter_case<Case::kCapitalized>>},
    {"d", kTyped<default_value>, {"default_value", "boolean"}},
    {"default", kTyped<default_value>, {"default_value", "boolean"}},
    {"e", kTyped<escape_html>},
    {"escape", kTyped<escape_html>},
    {"float", kTyped<to_float>, {"default"}},
    {"format", filter_format},
    {"indent", kTyped<indent>, {"width", "first", "blank"}},
    {"int", kTyped<to_int>, {"default", "base"}},
    {"lower", kTyped<filter_case<Case::kLower>>},
    {"replace", kTyped<replace_text>, {"old", "new", "count"}},
    {"round", kTyped<round_number>, {"precision", "method"}},
    {"safe", kTyped<mark_safe>},
    {"string", kTyped<to_string>},
    {"title", kTyped<title>},
    {"tojson", kTyped<dump_json>, {"ensure_ascii", "indent", "separators", "sort_keys"}},
    {"trim", kTyped<trim>, {"chars"}},
    {"upper", kTyped<filter_case<Case::kUpper>>},
};

}  // namespace

std::span<const Routine> value_filters() { return kTextFilters; }

}  // namespace millrace::jinja
