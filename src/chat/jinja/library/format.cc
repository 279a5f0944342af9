// Python's two ways of formatting, in the forms that templates use: strings, integers and fixed
// decimals, filled up to a width. Others are refused by name.

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "chat/jinja/library/library.h"
#include "chat/jinja/values/operators.h"
#include "chat/jinja/values/text.h"

namespace millrace::jinja {

namespace {

bool is_digit_char(char c) { return c >= '0' && c <= '9'; }

// One place of a pattern.
struct Place {
  bool is_left = false;   // filled up on its right
  bool has_sign = false;  // '+' before what is not negative
  bool pads_zeros = false;
  int64_t width = 0;
  std::optional<int64_t> precision;
  char type = '\0';
};

absl::Status unsupported_format(std::string_view place) {
  return unimplemented("the format '{}' is not supported", place);
}

// Reads digits at `at` and moves it behind them; 0 where there is none.
absl::StatusOr<int64_t> read_count(std::string_view text, size_t& at) {
  constexpr int64_t kCountMax = 1000;
  int64_t count = 0;
  for (; at < text.size() && is_digit_char(text[at]); ++at) {
    count = count * 10 + (text[at] - '0');
    if (count > kCountMax) return unimplemented("a format's width is at most {}", kCountMax);
  }
  return count;
}

// [width][.precision]
absl::Status read_size(std::string_view text, size_t& at, Place& place) {
  ASSIGN_OR_RETURN(place.width, read_count(text, at));
  if (at < text.size() && text[at] == '.') {
    ++at;
    ASSIGN_OR_RETURN(place.precision, read_count(text, at));
  }
  return absl::OkStatus();
}

absl::Status append_filled(TextBuilder& out, Workspace& work, const Text& text,
                           const Place& place) {
  RETURN_IF_ERROR(work.spend_bytes(text.size));
  ASSIGN_OR_RETURN(const Value filled, pad(work, text, place.width, make_view(" "),
                                           place.is_left ? Side::kRight : Side::kLeft));
  out.append(std::get<Text>(filled));
  return absl::OkStatus();
}

absl::Status append_number(TextBuilder& out, Workspace& work, std::string digits,
                           const Place& place) {
  std::string sign;
  if (digits.starts_with('-')) {
    sign = "-";
    digits.erase(0, 1);
  } else if (place.has_sign) {
    sign = "+";
  }
  const int64_t missing = place.width - std::ssize(sign) - std::ssize(digits);
  if (place.pads_zeros && !place.is_left && missing > 0) {
    sign.append(static_cast<size_t>(missing), '0');
  }
  return append_filled(out, work, work.copy(sign + digits), place);
}

// Of a type that templates use: s, r, d, i or f.
absl::Status append_place(TextBuilder& out, Workspace& work, const Value& value,
                          const Place& place) {
  if (place.type == 's' || place.type == 'r') {
    ASSIGN_OR_RETURN(Text text, place.type == 's' ? to_text(work, value) : repr_of(work, value));
    if (place.precision.has_value()) {
      text = slice(work, text, 0, offset_of(text.view(), *place.precision));
    }
    return append_filled(out, work, text, place);
  }
  if (is_undefined(value)) return undefined_error(value);
  if (!is_number(value)) {
    return invalid_argument("the format '{}' needs a number, got {}", place.type, type_name(value));
  }
  if (place.type == 'f') {
    // A double has at most 309 digits before its point.
    RETURN_IF_ERROR(work.spend(64 + place.precision.value_or(6)));
    const double number = number_of(value);
    std::string digits = fmt::format("{:.{}f}", number, place.precision.value_or(6));
    if (std::isnan(number)) digits = "nan";
    return append_number(out, work, std::move(digits), place);
  }
  if (place.precision.has_value()) return unsupported_format("a precision of integers");
  ASSIGN_OR_RETURN(const Value whole,
                   is_integer(value) ? positive(value) : whole_part(number_of(value)));
  return append_number(out, work, fmt::format_int(integer_of(whole)).str(), place);
}

// The arguments of a % pattern, handed out one after another.
class PercentArguments {
 public:
  explicit PercentArguments(const Value& value) {
    const auto* list = std::get_if<const List*>(&value);
    const bool is_tuple = list != nullptr && (*list)->is_tuple;
    items_ = is_tuple ? (*list)->items : std::span(&value, 1);
    is_mapping_ = (list != nullptr && !is_tuple) || is_undefined(value) ||
                  std::holds_alternative<const Dict*>(value) ||
                  std::holds_alternative<const Range*>(value);
  }

  absl::StatusOr<Value> next() {
    if (used_ < items_.size()) return items_[used_++];
    return invalid_argument("the format has more places than arguments");
  }
  absl::Status check_all_used() const {
    // Python lets what has items be there for names that the format does not use.
    if (is_mapping_ || used_ == items_.size()) return absl::OkStatus();
    return invalid_argument("not all arguments were converted by the format");
  }

 private:
  std::span<const Value> items_;
  bool is_mapping_ = false;
  size_t used_ = 0;
};

// %[-+0][width][.precision]type, `at` behind the sign; moves `at` behind the place.
absl::Status append_percent_place(TextBuilder& out, Workspace& work, std::string_view view,
                                  size_t& at, PercentArguments& arguments) {
  const size_t begin = at;
  Place place;
  for (; at < view.size(); ++at) {
    if (view[at] == '-') {
      place.is_left = true;
    } else if (view[at] == '+') {
      place.has_sign = true;
    } else if (view[at] == '0') {
      place.pads_zeros = true;
    } else {
      break;
    }
  }
  RETURN_IF_ERROR(read_size(view, at, place));
  if (at == view.size()) return invalid_argument("the format ends within a place");
  place.type = view[at];
  at += code_point_at(view, at).size;
  if (place.type == 'i') place.type = 'd';
  if (std::string_view("srdf").find(place.type) == std::string_view::npos) {
    return unsupported_format("%" + std::string(view.substr(begin, at - begin)));
  }
  ASSIGN_OR_RETURN(const Value value, arguments.next());
  return append_place(out, work, value, place);
}

// What a field `{...}` of str.format says: its argument, a conversion, a specification.
struct Field {
  std::string_view name, conversion, spec;
};
absl::StatusOr<Field> read_field(std::string_view text) {
  Field field;
  const size_t end = std::min(text.find_first_of("!:"), text.size());
  field.name = text.substr(0, end);
  std::string_view rest = text.substr(end);
  if (rest.starts_with('!')) {
    field.conversion = rest.substr(0, 2);
    rest.remove_prefix(field.conversion.size());
    if (!rest.empty() && rest[0] != ':') return unsupported_format(text);
  }
  field.spec = rest.substr(std::min<size_t>(1, rest.size()));
  const bool is_plain =
      field.name.find_first_of(".[") == std::string_view::npos &&
      text.find('{') == std::string_view::npos &&
      (field.conversion.empty() || field.conversion == "!r" || field.conversion == "!s");
  if (!is_plain) return unsupported_format("{" + std::string(text) + "}");
  return field;
}

// [<>][+][0][width][.precision][sdf]
absl::StatusOr<Place> read_spec(std::string_view spec, bool is_text) {
  Place place;
  size_t at = 0;
  const auto take = [&](char c) {
    const bool is_there = at < spec.size() && spec[at] == c;
    at += is_there ? 1 : 0;
    return is_there;
  };
  place.is_left = take('<') || (!take('>') && is_text);
  const bool has_align = at > 0;
  place.has_sign = take('+');
  place.pads_zeros = take('0');
  RETURN_IF_ERROR(read_size(spec, at, place));
  const bool has_type = at < spec.size();
  place.type = has_type ? spec[at++] : is_text ? 's' : 'd';
  const bool fits = is_text ? place.type == 's' && !place.has_sign && !place.pads_zeros
                            : place.type == 'd' || place.type == 'f';
  if (at < spec.size() || !fits || (has_align && place.pads_zeros)) return unsupported_format(spec);
  return place;
}

class BraceFormatter {
 public:
  BraceFormatter(Workspace& work, const Arguments& arguments)
      : work_(work), arguments_(arguments) {}

  absl::Status append(TextBuilder& out, std::string_view text) {
    ASSIGN_OR_RETURN(const Field field, read_field(text));
    ASSIGN_OR_RETURN(Value value, argument(field.name));
    if (field.conversion == "!r") {
      ASSIGN_OR_RETURN(value, repr_of(work_, value));
    } else if (field.conversion == "!s") {
      ASSIGN_OR_RETURN(value, to_text(work_, value));
    }
    if (field.spec.empty()) return append_text(out, work_, value);
    const bool is_text = as_text(value) != nullptr;
    if (!is_text && (!is_number(value) || std::holds_alternative<bool>(value))) {
      return unimplemented("a format of {} is not supported", type_name(value));
    }
    ASSIGN_OR_RETURN(const Place place, read_spec(field.spec, is_text));
    if (place.type == 'd' && !is_integer(value)) return unsupported_format(field.spec);
    return append_place(out, work_, value, place);
  }

 private:
  absl::StatusOr<Value> argument(std::string_view name) {
    size_t index = 0;
    if (name.empty()) {
      if (is_numbered_) return invalid_argument("a format numbers all of its places or none");
      index = next_++;
    } else if (is_digit_char(name[0])) {
      if (next_ > 0) return invalid_argument("a format numbers all of its places or none");
      is_numbered_ = true;
      size_t at = 0;
      ASSIGN_OR_RETURN(const int64_t number, read_count(name, at));
      if (at < name.size()) return unsupported_format(name);
      index = static_cast<size_t>(number);
    } else {
      RETURN_IF_ERROR(work_.spend(std::ssize(arguments_.named) / 8));
      for (const NamedValue& named : arguments_.named) {
        if (named.name == name) return named.value;
      }
      return invalid_argument("the format names '{}', which is not given", name);
    }
    if (index < arguments_.positional.size()) return arguments_.positional[index];
    return invalid_argument("the format has more places than arguments");
  }

  Workspace& work_;
  const Arguments& arguments_;
  size_t next_ = 0;
  bool is_numbered_ = false;  // by the pattern, so that no place counts by itself
};

}  // namespace

absl::StatusOr<Value> format_percent(Workspace& work, const Text& pattern, const Value& value) {
  if (pattern.is_markup) return unimplemented("'%' on a string marked safe is not supported");
  RETURN_IF_ERROR(work.spend_bytes(pattern.size, 16));
  const std::string_view view = pattern.view();
  PercentArguments arguments(value);
  TextBuilder out(work);
  for (size_t at = 0; at < view.size();) {
    const size_t sign = std::min(view.find('%', at), view.size());
    out.append(slice(work, pattern, at, sign));
    if (sign == view.size()) break;
    at = sign + 1;
    RETURN_IF_ERROR(work.spend());
    if (at < view.size() && view[at] == '%') {
      out.append(slice(work, pattern, at, at + 1));
      ++at;
    } else {
      RETURN_IF_ERROR(append_percent_place(out, work, view, at, arguments));
    }
  }
  RETURN_IF_ERROR(arguments.check_all_used());
  return out.finish();
}

absl::StatusOr<Value> format_braces(Workspace& work, const Text& pattern,
                                    const Arguments& arguments) {
  if (pattern.is_markup) return unimplemented("format on a string marked safe is not supported");
  RETURN_IF_ERROR(work.spend_bytes(pattern.size, 16));
  const std::string_view view = pattern.view();
  BraceFormatter formatter(work, arguments);
  TextBuilder out(work);
  for (size_t at = 0; at < view.size();) {
    const size_t brace = std::min(view.find_first_of("{}", at), view.size());
    out.append(slice(work, pattern, at, brace));
    if (brace == view.size()) break;
    RETURN_IF_ERROR(work.spend());
    if (brace + 1 < view.size() && view[brace + 1] == view[brace]) {
      out.append(slice(work, pattern, brace, brace + 1));
      at = brace + 2;
      continue;
    }
    const size_t close = view.find('}', brace);
    if (view[brace] == '}' || close == std::string_view::npos) {
      return invalid_argument("a single '{}' stands in the format", view[brace]);
    }
    RETURN_IF_ERROR(formatter.append(out, view.substr(brace + 1, close - brace - 1)));
    at = close + 1;
  }
  return out.finish();
}

}  // namespace millrace::jinja
