#include <algorithm>
#include <string>

#include "chat/jinja/access.h"
#include "chat/jinja/case_mapping.h"
#include "chat/jinja/compare.h"
#include "chat/jinja/filters.h"
#include "chat/jinja/format.h"
#include "chat/jinja/print.h"
#include "chat/jinja/text_ops.h"
#include "chat/jinja/text_search.h"

namespace millrace::jinja {

namespace {

using Given = const Arguments&;

// Filters of text take any value and print it first.
template <Case kCase>
absl::StatusOr<Value> case_filter(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("this filter", given));
  ASSIGN_OR_RETURN(const Text text, to_text(work, value));
  return change_case(work, text, kCase);
}

// jinja2 begins a word after each of these, where str.title would also do so after digits and
// apostrophes.
absl::StatusOr<Value> title_filter(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("title", given));
  ASSIGN_OR_RETURN(const Text text, to_text(work, value));
  const std::string_view view = text.view();
  const auto separates = [&](size_t at) {
    return std::string_view("-({[<").find(view[at]) != std::string_view::npos ||
           is_space(code_point_at(view, at).value);
  };
  TextBuilder out(work);
  for (size_t at = 0; at < view.size();) {
    size_t end = at;
    if (separates(at)) {
      end += code_point_at(view, at).size;
      out.append(slice(work, text, at, end));
    } else {
      while (end < view.size() && !separates(end)) end += code_point_at(view, end).size;
      RETURN_IF_ERROR(work.spend(8));
      const size_t first = at + code_point_at(view, at).size;
      ASSIGN_OR_RETURN(const Value head,
                       change_case(work, slice(work, text, at, first), Case::kUpper));
      ASSIGN_OR_RETURN(const Value rest,
                       change_case(work, slice(work, text, first, end), Case::kLower));
      out.append(std::get<Text>(head));
      out.append(std::get<Text>(rest));
    }
    at = end;
  }
  return out.finish();
}

absl::StatusOr<Value> trim_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("trim", given, {"chars"}));
  ASSIGN_OR_RETURN(const Text text, to_text(work, value));
  if (bound[0] == nullptr || is_none(*bound[0])) {
    ASSIGN_OR_RETURN(const Text stripped, strip(work, text, nullptr, Side::kBoth));
    return Value(stripped);
  }
  ASSIGN_OR_RETURN(const Text chars, text_argument(bound[0], {}, "the characters of trim"));
  ASSIGN_OR_RETURN(const Text stripped, strip(work, text, &chars, Side::kBoth));
  return Value(stripped);
}

absl::StatusOr<Value> replace_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("replace", given, {"old", "new", "count"}));
  if (bound[0] == nullptr || bound[1] == nullptr) {
    return invalid_argument("replace needs an old and a new string");
  }
  ASSIGN_OR_RETURN(Text text, to_text(work, value));
  ASSIGN_OR_RETURN(const Text old_part, to_text(work, *bound[0]));
  ASSIGN_OR_RETURN(const Text new_part, to_text(work, *bound[1]));
  const Value* const limit = bound[2] != nullptr && is_none(*bound[2]) ? nullptr : bound[2];
  ASSIGN_OR_RETURN(const int64_t count, integer_argument(limit, -1, "the count of replace"));
  text.is_markup = false;
  return replace(work, text, old_part, new_part, count);
}

absl::StatusOr<Value> string_filter(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("string", given));
  ASSIGN_OR_RETURN(const Text text, to_text(work, value));
  return Value(text);
}

absl::StatusOr<Value> safe_filter(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("safe", given));
  ASSIGN_OR_RETURN(Text text, to_text(work, value));
  text.is_markup = true;
  return Value(text);
}

absl::StatusOr<Value> escape_filter(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("escape", given));
  ASSIGN_OR_RETURN(const Text text, to_text(work, value));
  ASSIGN_OR_RETURN(const Text escaped, escape(work, text));
  return Value(escaped);
}

absl::StatusOr<Value> force_escape_filter(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("forceescape", given));
  ASSIGN_OR_RETURN(Text text, to_text(work, value));
  text.is_markup = false;
  ASSIGN_OR_RETURN(const Text escaped, escape(work, text));
  return Value(escaped);
}

absl::StatusOr<Value> indent_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("indent", given, {"width", "first", "blank"}));
  ASSIGN_OR_RETURN(const Text text, text_argument(&value, {}, "what indent indents"));
  Text indent = make_view("    ");
  if (bound[0] != nullptr && as_text(*bound[0]) != nullptr) {
    indent = std::get<Text>(*bound[0]);
  } else if (bound[0] != nullptr) {
    ASSIGN_OR_RETURN(const int64_t width, integer_argument(bound[0], 4, "the width of indent"));
    ASSIGN_OR_RETURN(const Value spaces, pad(work, Text{}, width, make_view(" "), Side::kLeft));
    indent = std::get<Text>(spaces);
  }
  const bool first = flag_argument(bound[1], false);
  const bool blank = flag_argument(bound[2], false);
  // The line end that jinja2 adds makes an empty text one line, and keeps a last empty one.
  ASSIGN_OR_RETURN(std::vector<Value> lines, split_lines(work, text, false));
  const std::string_view view = text.view();
  const bool ends_line = view.empty() || (!lines.empty() && [&] {
                           const Text& last = std::get<Text>(lines.back());
                           return last.data + last.size != view.data() + view.size();
                         }());
  if (ends_line) lines.emplace_back(Text{});
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

absl::StatusOr<Value> center_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("center", given, {"width"}));
  ASSIGN_OR_RETURN(const int64_t width, integer_argument(bound[0], 80, "the width of center"));
  ASSIGN_OR_RETURN(const Text text, to_text(work, value));
  return pad(work, text, width, make_view(" "), Side::kBoth);
}

absl::StatusOr<Value> truncate_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound,
                   bind_arguments("truncate", given, {"length", "killwords", "end", "leeway"}));
  ASSIGN_OR_RETURN(const int64_t length, integer_argument(bound[0], 255, "the length of truncate"));
  ASSIGN_OR_RETURN(const Text end,
                   text_argument(bound[2], make_view("..."), "the end of truncate"));
  const Value* const slack = bound[3] != nullptr && is_none(*bound[3]) ? nullptr : bound[3];
  ASSIGN_OR_RETURN(const int64_t leeway, integer_argument(slack, 5, "the leeway of truncate"));
  const int64_t end_length = count_code_points(end.view());
  if (length < end_length || leeway < 0) {
    return invalid_argument("truncate needs a length of at least {} and a leeway of at least 0",
                            end_length);
  }
  ASSIGN_OR_RETURN(const std::optional<int64_t> size, length_of(work, value));
  if (!size.has_value()) return invalid_argument("a {} has no length", type_name(value));
  if (*size <= length || *size - length <= leeway) return value;
  ASSIGN_OR_RETURN(const Text text, text_argument(&value, {}, "what truncate cuts"));
  Text kept = slice(work, text, 0, offset_of(text.view(), length - end_length));
  if (!flag_argument(bound[1], false)) {
    const size_t space = kept.view().rfind(' ');
    if (space != std::string_view::npos) kept = slice(work, kept, 0, space);
  }
  TextBuilder out(work);
  out.append(kept);
  out.append(end);
  return out.finish();
}

absl::StatusOr<Value> word_count_filter(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("wordcount", given));
  ASSIGN_OR_RETURN(const Text text, to_text(work, value));
  RETURN_IF_ERROR(work.spend_bytes(text.size, 4));
  int64_t words = 0;
  bool in_word = false;
  for (size_t at = 0; at < text.size;) {
    const CodePoint c = code_point_at(text.view(), at);
    const bool is_word = c.value == '_' || is_letter(c.value) || is_numeric(c.value);
    if (is_word && !in_word) ++words;
    in_word = is_word;
    at += c.size;
  }
  return Value(words);
}

absl::StatusOr<Value> format_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const Text pattern, to_text(work, value));
  if (!given.named.empty() && !given.positional.empty()) {
    return invalid_argument("format takes positional or named arguments, not both");
  }
  if (given.named.empty()) {
    const std::vector<Value> items(given.positional.begin(), given.positional.end());
    return format_percent(work, pattern, Value(work.tuple(work.keep(items))));
  }
  std::vector<Entry> entries;
  for (const NamedValue& each : given.named) {
    entries.push_back({Value(each.text()), each.value});
  }
  return format_percent(work, pattern, Value(work.dict(entries)));
}

template <const char* kWhy>
absl::StatusOr<Value> unsupported(Workspace&, const Value&, Given) {
  return unimplemented("this filter is not supported: {}", kWhy);
}
constexpr char kRandom[] = "a rendering gives the same text every time";
constexpr char kNoPages[] = "chat templates make no HTML pages";
constexpr char kNoDebugging[] = "it prints for debugging; use tojson or string";

constexpr Filter kFilters[] = {
    {"capitalize", case_filter<Case::kCapitalized>},
    {"center", center_filter},
    {"e", escape_filter},
    {"escape", escape_filter},
    {"forceescape", force_escape_filter},
    {"format", format_filter},
    {"indent", indent_filter},
    {"lower", case_filter<Case::kLower>},
    {"pprint", unsupported<kNoDebugging>},
    {"random", unsupported<kRandom>},
    {"replace", replace_filter},
    {"safe", safe_filter},
    {"string", string_filter},
    {"title", title_filter},
    {"trim", trim_filter},
    {"truncate", truncate_filter},
    {"upper", case_filter<Case::kUpper>},
    {"urlize", unsupported<kNoPages>},
    {"wordcount", word_count_filter},
};

}  // namespace

std::span<const Filter> text_filters() { return kFilters; }

}  // namespace millrace::jinja
