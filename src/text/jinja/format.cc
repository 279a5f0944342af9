#include "text/jinja/format.h"

#include <cmath>
#include <optional>
#include <string>

#include "text/jinja/access.h"
#include "text/jinja/print.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/text_search.h"

namespace millrace::jinja {

namespace {

// [[fill]align][sign][#][0][width][,][.precision][type]
struct Spec {
  Text fill = make_view(" ");
  char align = '\0';
  char sign = '-';
  bool has_commas = false;
  int64_t width = 0;
  std::optional<int64_t> precision;
  char type = '\0';
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

absl::StatusOr<int64_t> read_count(std::string_view text, size_t& at) {
  constexpr int64_t kCountMax = 1'000'000;
  int64_t count = 0;
  for (; at < text.size() && is_digit(text[at]); ++at) {
    count = count * 10 + (text[at] - '0');
    if (count > kCountMax) return resource_exhausted("a format's width is beyond {}", kCountMax);
  }
  return count;
}

void group_thousands(std::string& digits) {
  const size_t begin = digits.starts_with('-') || digits.starts_with('+') ? 1 : 0;
  size_t end = std::min(digits.find_first_not_of("0123456789", begin), digits.size());
  while (end > begin + 3) {
    end -= 3;
    digits.insert(end, ",");
  }
}

absl::StatusOr<std::string> number_body(const Value& value, const Spec& spec) {
  std::string body;
  switch (spec.type) {
    case '\0':
      if (is_integer(value)) {
        body = fmt::format("{}", integer_of(value));
      } else if (spec.precision.has_value()) {
        return unimplemented("a precision without a type is not supported for a float");
      } else {
        body = float_repr(number_of(value));
      }
      break;
    case 'd':
    case 'i':
    case 'u':
      if (!is_integer(value)) return invalid_argument("'{}' needs an integer", spec.type);
      body = fmt::format("{}", integer_of(value));
      break;
    case 'x':
    case 'X':
    case 'o':
    case 'b': {
      if (!is_integer(value)) return invalid_argument("'{}' needs an integer", spec.type);
      const std::string pattern = fmt::format("{{:{}}}", spec.type);
      body = fmt::format(fmt::runtime(pattern), integer_of(value));
      break;
    }
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
    case '%': {
      const char type = spec.type == '%' ? 'f' : spec.type;
      const double number = number_of(value) * (spec.type == '%' ? 100 : 1);
      const std::string pattern = fmt::format("{{:.{}{}}}", spec.precision.value_or(6), type);
      body = fmt::format(fmt::runtime(pattern), number);
      if (spec.type == '%') body += '%';
      break;
    }
    default:
      return unimplemented("the format '{}' of a number is not supported", spec.type);
  }
  if (spec.has_commas) group_thousands(body);
  if (spec.sign != '-' && !body.starts_with('-')) body.insert(0, 1, spec.sign);
  return body;
}

absl::Status append_padded(TextBuilder& out, Workspace& work, const Text& body, const Spec& spec,
                           char default_align) {
  const char align = spec.align != '\0' ? spec.align : default_align;
  if (align == '=') {
    const bool has_sign = body.size > 0 && (body.data[0] == '-' || body.data[0] == '+');
    const size_t sign = has_sign ? 1 : 0;
    out.append(body.view().substr(0, sign));
    ASSIGN_OR_RETURN(const Value padded,
                     pad(work, slice(work, body, sign, body.size),
                         spec.width - static_cast<int64_t>(sign), spec.fill, Side::kLeft));
    out.append(std::get<Text>(padded));
    return absl::OkStatus();
  }
  int64_t left = 0;
  const int64_t missing = std::max<int64_t>(spec.width - count_code_points(body.view()), 0);
  RETURN_IF_ERROR(work.spend(missing / 16));
  if (align == '>') left = missing;
  if (align == '^') left = missing / 2;
  for (int64_t i = 0; i < left; ++i) out.append(spec.fill);
  out.append(body);
  for (int64_t i = left; i < missing; ++i) out.append(spec.fill);
  return absl::OkStatus();
}

absl::Status append_formatted(TextBuilder& out, Workspace& work, const Value& value,
                              const Spec& spec) {
  if (is_undefined(value) && spec.type != '\0') return undefined_error(value);
  const bool is_plain_bool = std::holds_alternative<bool>(value) && spec.type == '\0';
  if (is_number(value) && !is_plain_bool) {
    ASSIGN_OR_RETURN(const std::string body, number_body(value, spec));
    return append_padded(out, work, make_view(body), spec, '>');
  }
  if (spec.type != '\0' && spec.type != 's') {
    return invalid_argument("the format '{}' does not work on {}", spec.type, type_name(value));
  }
  ASSIGN_OR_RETURN(Text text, to_text(work, value));
  RETURN_IF_ERROR(work.spend_bytes(text.size));
  if (spec.precision.has_value()) {
    text = slice(work, text, 0, offset_of(text.view(), *spec.precision));
  }
  return append_padded(out, work, text, spec, '<');
}

absl::StatusOr<Spec> parse_spec(Workspace& work, const Text& spec_text) {
  const std::string_view text = spec_text.view();
  Spec spec;
  size_t at = 0;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  const size_t first = text.empty() ? 0 : code_point_at(text, 0).size;
  if (text.size() > first && first > 0 && is_align(text[first])) {
    spec.fill = slice(work, spec_text, 0, first);
    spec.align = text[first];
    at = first + 1;
  } else if (!text.empty() && is_align(text[0])) {
    spec.align = text[at++];
  }
  if (at < text.size() && (text[at] == '+' || text[at] == '-' || text[at] == ' ')) {
    spec.sign = text[at++];
  }
  if (at < text.size() && text[at] == '0') {
    ++at;
    if (spec.align == '\0') {
      spec.fill = make_view("0");
      spec.align = '=';
    }
  }
  ASSIGN_OR_RETURN(spec.width, read_count(text, at));
  if (at < text.size() && text[at] == ',') {
    spec.has_commas = true;
    ++at;
  }
  if (at < text.size() && text[at] == '.') {
    ASSIGN_OR_RETURN(spec.precision, read_count(text, ++at));
  }
  if (at < text.size()) spec.type = text[at++];
  if (at < text.size()) return unimplemented("the format '{}' is not supported", text);
  return spec;
}

// The arguments of a % pattern, handed out one after another.
class PercentArguments {
 public:
  explicit PercentArguments(const Value& value) : value_(value) {
    const auto* list = std::get_if<const List*>(&value);
    if (list != nullptr && (*list)->is_tuple) items_ = (*list)->items;
    is_tuple_ = list != nullptr && (*list)->is_tuple;
  }

  absl::StatusOr<Value> next() {
    if (used_ >= (is_tuple_ ? items_.size() : 1)) {
      return invalid_argument("the format has more places than arguments");
    }
    return is_tuple_ ? items_[used_++] : (++used_, value_);
  }
  absl::StatusOr<Value> named(std::string_view name) {
    const auto* dict = std::get_if<const Dict*>(&value_);
    if (dict == nullptr) return invalid_argument("the format names '{}' and needs a dict", name);
    const Value* found = (*dict)->find(name);
    if (found == nullptr)
      return invalid_argument("the format names '{}', which is not given", name);
    used_ = 1;
    return *found;
  }
  absl::Status check_all_used() const {
    // Whatever has items may be there for names that the format does not use.
    const bool has_items = std::holds_alternative<const Dict*>(value_) ||
                           std::holds_alternative<const Range*>(value_) || is_undefined(value_) ||
                           (std::holds_alternative<const List*>(value_) && !is_tuple_);
    if ((has_items && used_ <= 1) || used_ == (is_tuple_ ? items_.size() : 1))
      return absl::OkStatus();
    return invalid_argument("not all arguments were converted by the format");
  }

 private:
  const Value& value_;
  std::span<const Value> items_;
  bool is_tuple_ = false;
  size_t used_ = 0;
};

// One place of a % pattern, `at` behind its sign; moves `at` behind the place.
absl::Status append_place(TextBuilder& out, Workspace& work, const Text& pattern, size_t& at,
                          PercentArguments& arguments) {
  const std::string_view view = pattern.view();
  Spec spec;
  std::optional<std::string_view> name;
  if (at < view.size() && view[at] == '(') {
    const size_t close = view.find(')', at);
    if (close == std::string_view::npos) return invalid_argument("a format's name has no ')'");
    name = view.substr(at + 1, close - at - 1);
    at = close + 1;
  }
  bool pads_zeros = false;
  for (; at < view.size() && std::string_view("-+ 0").find(view[at]) != std::string_view::npos;
       ++at) {
    if (view[at] == '-') spec.align = '<';
    if (view[at] == '+' || (view[at] == ' ' && spec.sign == '-')) spec.sign = view[at];
    if (view[at] == '0') pads_zeros = true;
  }
  ASSIGN_OR_RETURN(spec.width, read_count(view, at));
  if (at < view.size() && view[at] == '.') {
    ASSIGN_OR_RETURN(spec.precision, read_count(view, ++at));
  }
  if (at >= view.size()) return invalid_argument("the format ends within a place");
  spec.type = view[at++];
  if (spec.type == '%') {
    out.append(slice(work, pattern, at - 1, at));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(Value value, name.has_value() ? arguments.named(*name) : arguments.next());
  if (spec.type == 's' || spec.type == 'r') {
    if (spec.type == 'r') {
      TextBuilder repr(work);
      RETURN_IF_ERROR(append_repr(repr, work, value));
      ASSIGN_OR_RETURN(value, repr.finish());
    }
    ASSIGN_OR_RETURN(const Text text, to_text(work, value));
    spec.type = 's';
    if (spec.align == '\0') spec.align = '>';
    return append_formatted(out, work, Value(text), spec);
  }
  if (is_undefined(value)) return undefined_error(value);
  if (!is_number(value)) {
    return invalid_argument("the format '%{}' needs a number, got {}", spec.type, type_name(value));
  }
  const bool is_whole = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
  if (is_whole && !is_integer(value)) {
    if (!(std::abs(number_of(value)) < 0x1p63)) {
      return resource_exhausted("the number does not fit into 64 bits");
    }
    value = static_cast<int64_t>(number_of(value));
  }
  if (is_integer(value) && spec.precision.has_value() && (is_whole || spec.type == 'x')) {
    return unimplemented("a precision of an integer is not supported");
  }
  if (pads_zeros && spec.align == '\0') {
    spec.fill = make_view("0");
    spec.align = '=';
  }
  return append_formatted(out, work, value, spec);
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

namespace {

// The fields of str.format: {}, {0}, {name}, then .attribute and [key], !r or !s, and :spec.
class BraceFormatter {
 public:
  BraceFormatter(Workspace& work, const Arguments& arguments)
      : work_(work), arguments_(arguments), out_(work) {}

  absl::StatusOr<Value> run(const Text& pattern);

 private:
  absl::Status append_field(const Text& field_text);
  absl::StatusOr<Value> value_of(std::string_view path);
  absl::StatusOr<Value> first_part(std::string_view name);

  Workspace& work_;
  const Arguments& arguments_;
  TextBuilder out_;
  size_t next_ = 0;
};

absl::StatusOr<Value> BraceFormatter::first_part(std::string_view name) {
  size_t index = next_;
  if (name.empty()) {
    ++next_;
  } else if (is_digit(name[0])) {
    size_t at = 0;
    ASSIGN_OR_RETURN(const int64_t number, read_count(name, at));
    index = static_cast<size_t>(number);
  } else {
    for (const NamedValue& named : arguments_.named) {
      if (named.name == name) return named.value;
    }
    return invalid_argument("the format names '{}', which is not given", name);
  }
  if (index < arguments_.positional.size()) return arguments_.positional[index];
  return invalid_argument("the format has more places than arguments");
}

absl::StatusOr<Value> BraceFormatter::value_of(std::string_view path) {
  size_t at = std::min(path.find_first_of(".["), path.size());
  ASSIGN_OR_RETURN(Value value, first_part(path.substr(0, at)));
  while (at < path.size()) {
    const bool is_item = path[at] == '[';
    const size_t end =
        is_item ? path.find(']', at) : std::min(path.find_first_of(".[", at + 1), path.size());
    if (end == std::string_view::npos) return invalid_argument("a format's '[' has no ']'");
    const std::string_view name = path.substr(at + 1, end - at - 1);
    Value key = make_view(name);
    if (is_item && !name.empty() && is_digit(name[0])) {
      size_t digits = 0;
      ASSIGN_OR_RETURN(key, read_count(name, digits));
    }
    if (is_item) {
      ASSIGN_OR_RETURN(value, get_item(work_, value, key));
    } else {
      ASSIGN_OR_RETURN(value, get_attribute(work_, value, name));
    }
    at = end + (is_item ? 1 : 0);
  }
  return value;
}

absl::Status BraceFormatter::append_field(const Text& field_text) {
  const std::string_view field = field_text.view();
  if (field.find('{') != std::string_view::npos) {
    return unimplemented("nested places in a format are not supported");
  }
  const size_t colon = std::min(field.find(':'), field.size());
  std::string_view path = field.substr(0, colon);
  const Text spec_text = slice(work_, field_text, std::min(colon + 1, field.size()), field.size());
  char conversion = '\0';
  if (path.size() >= 2 && path[path.size() - 2] == '!') {
    conversion = path.back();
    path.remove_suffix(2);
    if (conversion != 'r' && conversion != 's') {
      return unimplemented("the conversion '!{}' is not supported", conversion);
    }
  }
  ASSIGN_OR_RETURN(Value value, value_of(path));
  if (conversion == 'r') {
    TextBuilder repr(work_);
    RETURN_IF_ERROR(append_repr(repr, work_, value));
    ASSIGN_OR_RETURN(value, repr.finish());
  } else if (conversion == 's') {
    ASSIGN_OR_RETURN(value, to_text(work_, value));
  }
  if (spec_text.size == 0) return append_text(out_, work_, value);
  if (!is_number(value) && as_text(value) == nullptr) {
    return invalid_argument("a {} has no format '{}'", type_name(value), spec_text.view());
  }
  ASSIGN_OR_RETURN(const Spec spec, parse_spec(work_, spec_text));
  return append_formatted(out_, work_, value, spec);
}

absl::StatusOr<Value> BraceFormatter::run(const Text& pattern) {
  const std::string_view view = pattern.view();
  for (size_t at = 0; at < view.size();) {
    const size_t brace = std::min(view.find_first_of("{}", at), view.size());
    out_.append(slice(work_, pattern, at, brace));
    if (brace == view.size()) break;
    RETURN_IF_ERROR(work_.spend());
    if (brace + 1 < view.size() && view[brace + 1] == view[brace]) {
      out_.append(slice(work_, pattern, brace, brace + 1));
      at = brace + 2;
      continue;
    }
    const size_t close = view.find('}', brace + 1);
    if (view[brace] == '}' || close == std::string_view::npos) {
      return invalid_argument("a single '{}' stands in the format", view[brace]);
    }
    RETURN_IF_ERROR(append_field(slice(work_, pattern, brace + 1, close)));
    at = close + 1;
  }
  return out_.finish();
}

}  // namespace

absl::StatusOr<Value> format_braces(Workspace& work, const Text& pattern,
                                    const Arguments& arguments) {
  if (pattern.is_markup) return unimplemented("format on a string marked safe is not supported");
  RETURN_IF_ERROR(work.spend_bytes(pattern.size, 16));
  return BraceFormatter(work, arguments).run(pattern);
}

}  // namespace millrace::jinja
