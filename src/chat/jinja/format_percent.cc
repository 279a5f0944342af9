#include <cmath>

#include "chat/jinja/format.h"
#include "chat/jinja/integers.h"
#include "chat/jinja/number_format.h"
#include "chat/jinja/print.h"
#include "chat/jinja/text_search.h"

namespace millrace::jinja {

namespace {

bool is_one_of(char c, std::string_view letters) {
  return letters.find(c) != std::string_view::npos;
}

// The arguments of a % pattern, handed out one after another. As in CPython, a place with a name
// makes what the name gives the only argument from there on.
class PercentArguments {
 public:
  explicit PercentArguments(const Value& value) : value_(value), single_(value) {
    const auto* list = std::get_if<const List*>(&value);
    if (list != nullptr && (*list)->is_tuple) {
      items_ = (*list)->items;
    } else {
      items_ = {&single_, 1};
    }
    is_mapping_ = std::holds_alternative<const Dict*>(value) ||
                  std::holds_alternative<const Range*>(value) || is_undefined(value) ||
                  (list != nullptr && !(*list)->is_tuple);
  }

  absl::StatusOr<Value> next() {
    if (used_ < items_.size()) return items_[used_++];
    return invalid_argument("the format has more places than arguments");
  }
  absl::Status choose(std::string_view name) {
    const auto* dict = std::get_if<const Dict*>(&value_);
    if (dict == nullptr) return invalid_argument("the format names '{}' and needs a dict", name);
    const Value* found = (*dict)->find(name);
    if (found == nullptr) {
      return invalid_argument("the format names '{}', which is not given", name);
    }
    single_ = *found;
    items_ = {&single_, 1};
    used_ = 0;
    return absl::OkStatus();
  }
  absl::Status check_all_used() const {
    // What has items may be there for names that the format does not use.
    if (is_mapping_ || used_ == items_.size()) return absl::OkStatus();
    return invalid_argument("not all arguments were converted by the format");
  }

 private:
  const Value& value_;
  Value single_;
  std::span<const Value> items_;
  bool is_mapping_ = false;
  size_t used_ = 0;
};

struct Place {
  FormatSpec spec;
  bool pads_zeros = false;
};

absl::StatusOr<std::string_view> read_name(std::string_view view, size_t& at) {
  const size_t begin = at + 1;
  int64_t open = 0;
  for (; at < view.size(); ++at) {
    if (view[at] == '(') ++open;
    if (view[at] == ')' && --open == 0) return view.substr(begin, at++ - begin);
  }
  return invalid_argument("a format's name has no ')'");
}

// A number in the pattern, or `*`: the next argument.
absl::StatusOr<int64_t> read_number(std::string_view view, size_t& at,
                                    PercentArguments& arguments) {
  if (at >= view.size() || view[at] != '*') return read_count(view, at);
  ++at;
  ASSIGN_OR_RETURN(const Value value, arguments.next());
  constexpr int64_t kCountMax = 1'000'000;
  if (!fits_int64(value)) return invalid_argument("'*' in a format needs an integer");
  const int64_t number = integer_of(value);
  if (std::abs(number) > kCountMax) {
    return resource_exhausted("a format's width is beyond {}", kCountMax);
  }
  return number;
}

// Flags, width, precision and type of the place at `at`, which moves behind it.
absl::StatusOr<Place> read_place(std::string_view view, size_t& at, PercentArguments& arguments) {
  Place place;
  FormatSpec& spec = place.spec;
  for (; at < view.size() && is_one_of(view[at], "-+ #0"); ++at) {
    if (view[at] == '-') spec.align = '<';
    if (view[at] == '+' || (view[at] == ' ' && spec.sign != '+')) spec.sign = view[at];
    if (view[at] == '#') spec.is_alternate = true;
    if (view[at] == '0') place.pads_zeros = true;
  }
  ASSIGN_OR_RETURN(spec.width, read_number(view, at, arguments));
  if (spec.width < 0) {
    spec.align = '<';
    spec.width = -spec.width;
  }
  if (at < view.size() && view[at] == '.') {
    ASSIGN_OR_RETURN(const int64_t precision, read_number(view, ++at, arguments));
    spec.precision = std::max<int64_t>(precision, 0);
  }
  if (at < view.size() && is_one_of(view[at], "hlL")) ++at;
  if (at >= view.size()) return invalid_argument("the format ends within a place");
  spec.type = view[at++];
  return place;
}

absl::Status append_padded_text(TextBuilder& out, Workspace& work, Text text, FormatSpec spec) {
  if (spec.precision.has_value()) {
    text = slice(work, text, 0, offset_of(text.view(), *spec.precision));
  }
  return append_padded(out, work, text, spec, '>');
}

absl::StatusOr<Text> text_of_place(Workspace& work, const Value& value, char type) {
  return type == 's' ? to_text(work, value) : repr_of(work, value, type == 'a');
}

// %d of a float is its whole part; the others need integers.
absl::StatusOr<Value> integer_of_place(Workspace& work, const Value& value, char type) {
  if (is_undefined(value)) return undefined_error(value);
  if (is_integer(value)) return value;
  if (is_number(value) && is_one_of(type, "diu")) return whole_part(work, number_of(value));
  return invalid_argument("the format '%{}' needs an integer, got {}", type, type_name(value));
}

absl::Status append_integer(TextBuilder& out, Workspace& work, Value value, Place place) {
  FormatSpec& spec = place.spec;
  ASSIGN_OR_RETURN(value, integer_of_place(work, value, spec.type));
  if (is_one_of(spec.type, "iu")) spec.type = 'd';
  if (const std::optional<int64_t> digits = std::exchange(spec.precision, std::nullopt)) {
    // At least so many digits: zeros up to there, and the width around all of it.
    FormatSpec inner = spec;
    inner.align = '=';
    inner.fill = make_view("0");
    const bool has_sign = is_negative_integer(value) || spec.sign != '\0';
    const bool has_prefix = spec.is_alternate && spec.type != 'd';
    inner.width = *digits + (has_sign ? 1 : 0) + (has_prefix ? 2 : 0);
    if (place.pads_zeros && spec.align == '\0') inner.width = std::max(inner.width, spec.width);
    TextBuilder number(work);
    RETURN_IF_ERROR(append_number(number, work, value, inner));
    ASSIGN_OR_RETURN(const Value text, number.finish());
    return append_padded(out, work, std::get<Text>(text), spec, '>');
  }
  return append_number(out, work, value, spec);
}

absl::Status append_character(TextBuilder& out, Workspace& work, const Value& value,
                              FormatSpec spec) {
  spec.precision.reset();
  if (const Text* text = as_text(value)) {
    if (count_code_points(text->view()) != 1) {
      return invalid_argument("the format '%c' needs one character");
    }
    return append_padded(out, work, *text, spec, '>');
  }
  if (is_undefined(value)) return undefined_error(value);
  if (!is_integer(value)) return invalid_argument("the format '%c' needs a character");
  ASSIGN_OR_RETURN(const std::string character, character_of(value));
  return append_padded(out, work, make_view(character), spec, '>');
}

// One place of a pattern, `at` behind its sign; moves `at` behind the place.
absl::Status append_place(TextBuilder& out, Workspace& work, const Text& pattern, size_t& at,
                          PercentArguments& arguments) {
  const std::string_view view = pattern.view();
  if (at < view.size() && view[at] == '%') {
    out.append(slice(work, pattern, at, at + 1));
    ++at;
    return absl::OkStatus();
  }
  if (at < view.size() && view[at] == '(') {
    ASSIGN_OR_RETURN(const std::string_view name, read_name(view, at));
    RETURN_IF_ERROR(arguments.choose(name));
  }
  ASSIGN_OR_RETURN(Place place, read_place(view, at, arguments));
  FormatSpec& spec = place.spec;
  if (!is_one_of(spec.type, "sradiuxXoeEfFgGc")) {
    return invalid_argument("a format has no type '{}'", spec.type);
  }
  ASSIGN_OR_RETURN(const Value value, arguments.next());
  if (is_one_of(spec.type, "sra")) {
    ASSIGN_OR_RETURN(const Text text, text_of_place(work, value, spec.type));
    return append_padded_text(out, work, text, spec);
  }
  if (spec.type == 'c') return append_character(out, work, value, spec);
  if (place.pads_zeros && spec.align == '\0') {
    spec.fill = make_view("0");
    spec.zero_pads = true;
  }
  if (is_one_of(spec.type, "diuxXo")) return append_integer(out, work, value, place);
  if (is_undefined(value)) return undefined_error(value);
  if (!is_number(value)) {
    return invalid_argument("the format '%{}' needs a number, got {}", spec.type, type_name(value));
  }
  return append_number(out, work, value, spec);
}

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
    RETURN_IF_ERROR(append_place(out, work, pattern, at, arguments));
  }
  RETURN_IF_ERROR(arguments.check_all_used());
  return out.finish();
}

}  // namespace millrace::jinja
