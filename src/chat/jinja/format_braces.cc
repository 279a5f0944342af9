#include <algorithm>

#include "chat/jinja/access.h"
#include "chat/jinja/format.h"
#include "chat/jinja/number_format.h"
#include "chat/jinja/print.h"

namespace millrace::jinja {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_number_text(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

// The fields of str.format: {}, {0}, {name}, then .attribute and [key], !r, !s or !a, and :spec,
// in which fields may stand again.
class BraceFormatter {
 public:
  // `mapping`: of format_map; null: the names are those of the arguments.
  BraceFormatter(Workspace& work, const Arguments& arguments, const Value* mapping)
      : work_(work), arguments_(arguments), mapping_(mapping) {}

  // `depth`: how many more levels of fields there may be.
  absl::StatusOr<Value> run(const Text& pattern, int depth);

 private:
  absl::Status append_field(TextBuilder& out, const Text& field_text, int depth);
  absl::StatusOr<Value> value_of(std::string_view path);
  absl::StatusOr<Value> first_part(std::string_view path, std::string_view name);
  absl::StatusOr<Value> converted(const Value& value, char conversion);

  Workspace& work_;
  const Arguments& arguments_;
  const Value* mapping_;
  size_t next_ = 0;
  bool is_numbered_ = false;  // by the pattern, so that no place counts by itself
};

absl::StatusOr<Value> BraceFormatter::first_part(std::string_view path, std::string_view name) {
  size_t index = 0;
  if (path.empty()) {
    if (is_numbered_) return invalid_argument("a format numbers all of its places or none");
    index = next_++;
  } else if (is_number_text(name)) {
    if (path == name && next_ > 0) {
      return invalid_argument("a format numbers all of its places or none");
    }
    is_numbered_ = is_numbered_ || path == name;
    size_t at = 0;
    ASSIGN_OR_RETURN(const int64_t number, read_count(name, at));
    index = static_cast<size_t>(number);
  } else if (mapping_ != nullptr) {
    const auto* dict = std::get_if<const Dict*>(mapping_);
    if (dict == nullptr) return invalid_argument("format_map needs a dict");
    if (const Value* found = (*dict)->find(name)) return *found;
    return invalid_argument("the format names '{}', which is not given", name);
  } else {
    RETURN_IF_ERROR(work_.spend(std::ssize(arguments_.named) / 8));
    for (const NamedValue& named : arguments_.named) {
      if (named.name == name) return named.value;
    }
    return invalid_argument("the format names '{}', which is not given", name);
  }
  if (mapping_ == nullptr && index < arguments_.positional.size()) {
    return arguments_.positional[index];
  }
  return invalid_argument("the format has more places than arguments");
}

absl::StatusOr<Value> BraceFormatter::value_of(std::string_view path) {
  size_t at = std::min(path.find_first_of(".["), path.size());
  ASSIGN_OR_RETURN(Value value, first_part(path, path.substr(0, at)));
  while (at < path.size()) {
    RETURN_IF_ERROR(work_.spend(2));
    const bool is_item = path[at] == '[';
    if (!is_item && path[at] != '.') {
      return invalid_argument("only '.' or '[' may follow ']' in a format");
    }
    const size_t end =
        is_item ? path.find(']', at) : std::min(path.find_first_of(".[", at + 1), path.size());
    if (end == std::string_view::npos) return invalid_argument("a format's '[' has no ']'");
    const std::string_view name = path.substr(at + 1, end - at - 1);
    if (name.empty()) return invalid_argument("a format names an empty attribute");
    Value key = make_view(name);
    if (is_item && is_number_text(name)) {
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

absl::StatusOr<Value> BraceFormatter::converted(const Value& value, char conversion) {
  if (conversion == 's') return to_text(work_, value);
  if (conversion != 'r' && conversion != 'a') {
    return invalid_argument("a format has no conversion '!{}'", conversion);
  }
  return repr_of(work_, value, conversion == 'a');
}

absl::Status BraceFormatter::append_field(TextBuilder& out, const Text& field_text, int depth) {
  const std::string_view field = field_text.view();
  // Neither ':' nor '!' ends the path within brackets.
  size_t end = 0;
  for (bool in_brackets = false; end < field.size(); ++end) {
    if (field[end] == '[') in_brackets = true;
    if (field[end] == ']') in_brackets = false;
    if (!in_brackets && (field[end] == ':' || field[end] == '!')) break;
  }
  const std::string_view path = field.substr(0, end);
  if (path.find_first_of("{}") != std::string_view::npos) {
    return invalid_argument("unexpected '{{' in the name of a format's field");
  }
  char conversion = '\0';
  if (end < field.size() && field[end] == '!') {
    if (end + 1 >= field.size()) return invalid_argument("a format's '!' has no conversion");
    conversion = field[end + 1];
    end += 2;
    if (end < field.size() && field[end] != ':') {
      return invalid_argument("expected ':' after a format's conversion");
    }
  }
  ASSIGN_OR_RETURN(Value value, value_of(path));
  if (conversion != '\0') {
    ASSIGN_OR_RETURN(value, converted(value, conversion));
  }
  const Text nested = slice(work_, field_text, std::min(end + 1, field.size()), field.size());
  ASSIGN_OR_RETURN(const Value spec_text, run(nested, depth - 1));
  const Text& spec = std::get<Text>(spec_text);
  if (spec.size == 0) return append_text(out, work_, value);
  ASSIGN_OR_RETURN(const FormatSpec parsed, parse_format_spec(work_, spec));
  return append_formatted(out, work_, value, parsed);
}

absl::StatusOr<Value> BraceFormatter::run(const Text& pattern, int depth) {
  if (depth < 0) return invalid_argument("a format's fields nest too deep");
  const std::string_view view = pattern.view();
  TextBuilder out(work_);
  for (size_t at = 0; at < view.size();) {
    const size_t brace = std::min(view.find_first_of("{}", at), view.size());
    out.append(slice(work_, pattern, at, brace));
    if (brace == view.size()) break;
    RETURN_IF_ERROR(work_.spend());
    if (brace + 1 < view.size() && view[brace + 1] == view[brace]) {
      out.append(slice(work_, pattern, brace, brace + 1));
      at = brace + 2;
      continue;
    }
    if (view[brace] == '}') return invalid_argument("a single '}}' stands in the format");
    size_t close = brace + 1;
    for (int64_t open = 1; close < view.size(); ++close) {
      if (view[close] == '{') ++open;
      if (view[close] == '}' && --open == 0) break;
    }
    if (close >= view.size()) return invalid_argument("a single '{{' stands in the format");
    RETURN_IF_ERROR(append_field(out, slice(work_, pattern, brace + 1, close), depth));
    at = close + 1;
  }
  return out.finish();
}

}  // namespace

absl::StatusOr<Value> format_braces(Workspace& work, const Text& pattern,
                                    const Arguments& arguments, const Value* mapping) {
  if (pattern.is_markup) return unimplemented("format on a string marked safe is not supported");
  RETURN_IF_ERROR(work.spend_bytes(pattern.size, 16));
  // As string.Formatter has it: fields, and fields in their specifications.
  constexpr int kDepth = 1;
  return BraceFormatter(work, arguments, mapping).run(pattern, kDepth + 1);
}

}  // namespace millrace::jinja
