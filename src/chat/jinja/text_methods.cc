#include <algorithm>
#include <optional>

#include "chat/jinja/access.h"
#include "chat/jinja/case_mapping.h"
#include "chat/jinja/format.h"
#include "chat/jinja/methods.h"
#include "chat/jinja/number_format.h"
#include "chat/jinja/print.h"
#include "chat/jinja/text_ops.h"
#include "chat/jinja/text_search.h"

namespace millrace::jinja {

namespace {

using Given = const Arguments&;

template <Side kSide>
absl::StatusOr<Value> strip_method(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("strip", given, {kNameless}));
  if (bound[0] == nullptr || is_none(*bound[0])) {
    ASSIGN_OR_RETURN(const Text stripped, strip(work, std::get<Text>(self), nullptr, kSide));
    return Value(stripped);
  }
  ASSIGN_OR_RETURN(const Text chars, text_argument(bound[0], {}, "the argument of strip"));
  ASSIGN_OR_RETURN(const Text stripped, strip(work, std::get<Text>(self), &chars, kSide));
  return Value(stripped);
}

template <Case kCase>
absl::StatusOr<Value> case_method(Workspace& work, const Value& self, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("a case method", given));
  return change_case(work, std::get<Text>(self), kCase);
}

template <bool kFromRight>
absl::StatusOr<Value> split_method(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("split", given, {"sep", "maxsplit"}));
  Text separator;
  const bool has_separator = bound[0] != nullptr && !is_none(*bound[0]);
  if (has_separator) {
    ASSIGN_OR_RETURN(separator, text_argument(bound[0], {}, "the separator of split"));
  }
  ASSIGN_OR_RETURN(const int64_t splits, integer_argument(bound[1], -1, "maxsplit"));
  const Text* const by = has_separator ? &separator : nullptr;
  const Text& text = std::get<Text>(self);
  ASSIGN_OR_RETURN(const std::vector<Value> pieces, kFromRight
                                                        ? split_from_right(work, text, by, splits)
                                                        : split(work, text, by, splits));
  return Value(work.list(pieces));
}

absl::StatusOr<Value> splitlines(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("splitlines", given, {"keepends"}));
  ASSIGN_OR_RETURN(const std::vector<Value> lines,
                   split_lines(work, std::get<Text>(self), flag_argument(bound[0], false)));
  return Value(work.list(lines));
}

// Where startswith, find, count and their like look, in bytes; nothing where the start lies behind
// the end, so that not even an empty text is found there.
struct Window {
  size_t begin, end;
};
absl::StatusOr<std::optional<Window>> window_of(Workspace& work, const Text& text,
                                                const Value* start, const Value* stop) {
  if (start == nullptr && stop == nullptr) return Window{0, text.size};
  RETURN_IF_ERROR(work.spend_bytes(text.size, 32));
  const std::string_view view = text.view();
  const int64_t size = count_code_points(view);
  const auto place = [&](const Value* value, int64_t fallback) -> absl::StatusOr<int64_t> {
    if (value != nullptr && is_none(*value)) return fallback;
    if (value != nullptr && is_integer(*value) && !fits_int64(*value)) {
      return std::get<const Big*>(*value)->is_negative ? 0 : size + 1;
    }
    ASSIGN_OR_RETURN(const int64_t at, integer_argument(value, fallback, "a bound of a search"));
    return at < 0 ? std::max<int64_t>(at + size, 0) : at;
  };
  ASSIGN_OR_RETURN(const int64_t begin, place(start, 0));
  ASSIGN_OR_RETURN(const int64_t given_end, place(stop, size));
  const int64_t end = std::min(given_end, size);
  if (begin > end) return std::nullopt;
  return Window{offset_of(view, begin), offset_of(view, end)};
}

template <bool kAtEnd>
absl::StatusOr<Value> affix_test(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("startswith and endswith", given,
                                                    {kNameless, kNameless, kNameless}));
  if (bound[0] == nullptr) return invalid_argument("startswith and endswith need a string");
  const Text& text = std::get<Text>(self);
  ASSIGN_OR_RETURN(const std::optional<Window> window, window_of(work, text, bound[1], bound[2]));
  const std::string_view part =
      window.has_value() ? text.view().substr(window->begin, window->end - window->begin) : "";
  const auto matches = [&](const Value& value) -> absl::StatusOr<bool> {
    ASSIGN_OR_RETURN(const Text affix,
                     text_argument(&value, {}, "what a string begins or ends with"));
    RETURN_IF_ERROR(work.spend_bytes(affix.size, 512));
    return window.has_value() &&
           (kAtEnd ? part.ends_with(affix.view()) : part.starts_with(affix.view()));
  };
  const auto* tuple = std::get_if<const List*>(bound[0]);
  if (tuple == nullptr || !(*tuple)->is_tuple) {
    ASSIGN_OR_RETURN(const bool is_match, matches(*bound[0]));
    return Value(is_match);
  }
  for (const Value& affix : (*tuple)->items) {
    RETURN_IF_ERROR(work.spend());
    ASSIGN_OR_RETURN(const bool is_match, matches(affix));
    if (is_match) return Value(true);
  }
  return Value(false);
}

template <bool kAtEnd>
absl::StatusOr<Value> remove_affix(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("removeprefix", given, {kNameless}));
  const Text& text = std::get<Text>(self);
  if (bound[0] == nullptr) return invalid_argument("removeprefix and removesuffix need a string");
  ASSIGN_OR_RETURN(const Text part, text_argument(bound[0], {}, "what is removed"));
  RETURN_IF_ERROR(work.spend_bytes(part.size, 512));
  if (kAtEnd && text.view().ends_with(part.view())) {
    return Value(slice(work, text, 0, text.size - part.size));
  }
  if (!kAtEnd && text.view().starts_with(part.view())) {
    return Value(slice(work, text, part.size, text.size));
  }
  return self;
}

absl::StatusOr<Value> replace_method(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound,
                   bind_arguments("replace", given, {kNameless, kNameless, kNameless}));
  if (bound[1] == nullptr) return invalid_argument("replace needs an old and a new string");
  ASSIGN_OR_RETURN(const Text old_part, text_argument(bound[0], {}, "the old part"));
  ASSIGN_OR_RETURN(const Text new_part, text_argument(bound[1], {}, "the new part"));
  ASSIGN_OR_RETURN(const int64_t count, integer_argument(bound[2], -1, "the count of replace"));
  return replace(work, std::get<Text>(self), old_part, new_part, count);
}

absl::StatusOr<Value> join_method(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("join", given, {kNameless}));
  if (bound[0] == nullptr) return invalid_argument("join needs a list of strings");
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, *bound[0]));
  std::vector<Text> parts;
  parts.reserve(items.size());
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(const Text part, text_argument(&item, {}, "what join joins"));
    parts.push_back(part);
  }
  return join(work, std::get<Text>(self), parts);
}

template <bool kLast, bool kMustBeThere>
absl::StatusOr<Value> find_method_of(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound,
                   bind_arguments("find", given, {kNameless, kNameless, kNameless}));
  if (bound[0] == nullptr) return invalid_argument("find and index need a string");
  ASSIGN_OR_RETURN(const Text part, text_argument(bound[0], {}, "what is looked for"));
  const Text& text = std::get<Text>(self);
  ASSIGN_OR_RETURN(const std::optional<Window> window, window_of(work, text, bound[1], bound[2]));
  size_t found = std::string_view::npos;
  if (window.has_value()) {
    const std::string_view view = text.view().substr(window->begin, window->end - window->begin);
    ASSIGN_OR_RETURN(
        found, kLast ? find_last(work, view, part.view()) : find_first(work, view, part.view()));
  }
  if (found == std::string_view::npos) {
    if (kMustBeThere) return invalid_argument("the substring was not found");
    return Value(int64_t{-1});
  }
  return Value(count_code_points(text.view().substr(0, window->begin + found)));
}

absl::StatusOr<Value> count_method(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound,
                   bind_arguments("count", given, {kNameless, kNameless, kNameless}));
  if (bound[0] == nullptr) return invalid_argument("count needs a string");
  ASSIGN_OR_RETURN(const Text part, text_argument(bound[0], {}, "what is counted"));
  const Text& text = std::get<Text>(self);
  ASSIGN_OR_RETURN(const std::optional<Window> window, window_of(work, text, bound[1], bound[2]));
  if (!window.has_value()) return Value(int64_t{0});
  const std::string_view view = text.view().substr(window->begin, window->end - window->begin);
  RETURN_IF_ERROR(work.spend_bytes(view.size(), kSearchedBytesPerStep));
  if (part.size == 0) return Value(count_code_points(view) + 1);
  int64_t count = 0;
  for (size_t at = find_bytes(view, part.view(), 0); at != std::string_view::npos;
       at = find_bytes(view, part.view(), at + part.size)) {
    RETURN_IF_ERROR(work.spend());
    ++count;
  }
  return Value(count);
}

// Whether every character passes, of a text that is not empty.
template <bool (*kPasses)(int32_t)>
absl::StatusOr<Value> all_are(Workspace& work, const Value& self, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("a test of characters", given));
  const std::string_view view = std::get<Text>(self).view();
  RETURN_IF_ERROR(work.spend_bytes(view.size(), 4));
  for (size_t at = 0; at < view.size(); at += code_point_at(view, at).size) {
    if (!kPasses(code_point_at(view, at).value)) return Value(false);
  }
  return Value(!view.empty());
}
bool is_alphanumeric(int32_t c) { return is_letter(c) || is_digit(c) || is_numeric(c); }

// isupper and islower: some cased character, and none of the other case.
template <bool (*kWanted)(int32_t), bool (*kOther)(int32_t)>
absl::StatusOr<Value> is_of_case(Workspace& work, const Value& self, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("a test of case", given));
  const std::string_view view = std::get<Text>(self).view();
  RETURN_IF_ERROR(work.spend_bytes(view.size(), 4));
  bool has_wanted = false;
  for (size_t at = 0; at < view.size(); at += code_point_at(view, at).size) {
    const int32_t c = code_point_at(view, at).value;
    if (kOther(c)) return Value(false);
    has_wanted = has_wanted || kWanted(c);
  }
  return Value(has_wanted);
}

template <Side kPadded>
absl::StatusOr<Value> justify(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound,
                   bind_arguments("a method that pads", given, {kNameless, kNameless}));
  if (bound[0] == nullptr) return invalid_argument("a width is needed");
  ASSIGN_OR_RETURN(const int64_t width, integer_argument(bound[0], 0, "the width"));
  ASSIGN_OR_RETURN(const Text fill, text_argument(bound[1], make_view(" "), "the fill character"));
  if (count_code_points(fill.view()) != 1) {
    return invalid_argument("the fill character must be exactly one character");
  }
  return pad(work, std::get<Text>(self), width, fill, kPadded);
}

template <bool kLast>
absl::StatusOr<Value> partition(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("partition", given, {kNameless}));
  if (bound[0] == nullptr) return invalid_argument("partition needs a separator");
  ASSIGN_OR_RETURN(const Text by, text_argument(bound[0], {}, "the separator of partition"));
  if (by.size == 0) return invalid_argument("the separator of partition is empty");
  const Text& text = std::get<Text>(self);
  ASSIGN_OR_RETURN(const size_t found, kLast ? find_last(work, text.view(), by.view())
                                             : find_first(work, text.view(), by.view()));
  std::vector<Value> parts;
  if (found == std::string_view::npos) {
    parts =
        kLast ? std::vector<Value>{Text{}, Text{}, text} : std::vector<Value>{text, Text{}, Text{}};
  } else {
    parts = {slice(work, text, 0, found), by, slice(work, text, found + by.size, text.size)};
  }
  return Value(work.tuple(work.keep(parts)));
}

// Zeros between a sign and the rest.
absl::StatusOr<Value> zfill(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("zfill", given, {kNameless}));
  if (bound[0] == nullptr) return invalid_argument("zfill needs a width");
  ASSIGN_OR_RETURN(const int64_t width, integer_argument(bound[0], 0, "the width of zfill"));
  const Text& text = std::get<Text>(self);
  const size_t sign = text.view().starts_with('-') || text.view().starts_with('+') ? 1 : 0;
  ASSIGN_OR_RETURN(const Value padded,
                   pad(work, slice(work, text, sign, text.size), width - static_cast<int64_t>(sign),
                       make_view("0"), Side::kLeft));
  TextBuilder out(work);
  out.append(slice(work, text, 0, sign));
  out.append(std::get<Text>(padded));
  return out.finish();
}

absl::StatusOr<Value> expand_tabs(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("expandtabs", given, {"tabsize"}));
  ASSIGN_OR_RETURN(const int64_t size, integer_argument(bound[0], 8, "the size of a tab"));
  const Text& text = std::get<Text>(self);
  RETURN_IF_ERROR(work.expect_text(size));
  RETURN_IF_ERROR(work.spend_bytes(text.size, 8));
  TextBuilder out(work);
  int64_t column = 0;
  size_t plain = 0;
  for (size_t at = 0; at < text.size; at += code_point_at(text.view(), at).size) {
    const char c = text.data[at];
    ++column;
    if (c == '\n' || c == '\r') column = 0;
    if (c != '\t') continue;
    out.append(slice(work, text, plain, at));
    plain = at + 1;
    const int64_t spaces = size > 0 ? size - (column - 1) % size : 0;
    column += spaces - 1;
    RETURN_IF_ERROR(work.spend(1 + spaces / 64));
    RETURN_IF_ERROR(out.check());
    out.append(std::string(static_cast<size_t>(spaces), ' '),
               slice(work, text, at, at + 1).is_written());
  }
  out.append(slice(work, text, plain, text.size));
  return out.finish();
}

absl::StatusOr<Value> translate(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("translate", given, {kNameless}));
  if (bound[0] == nullptr) return invalid_argument("translate needs a table");
  const Text& text = std::get<Text>(self);
  RETURN_IF_ERROR(work.spend_bytes(text.size, 1));
  TextBuilder out(work);
  for (size_t at = 0; at < text.size;) {
    const CodePoint c = code_point_at(text.view(), at);
    ASSIGN_OR_RETURN(const Value mapped, get_item(work, *bound[0], Value(int64_t{c.value})));
    if (is_undefined(mapped)) {
      out.append(slice(work, text, at, at + c.size));
    } else if (is_integer(mapped)) {
      ASSIGN_OR_RETURN(const std::string character, character_of(mapped));
      out.append(character, slice(work, text, at, at + c.size).is_written());
    } else if (const Text* part = as_text(mapped)) {
      out.append(*part);
    } else if (!is_none(mapped)) {
      return invalid_argument("translate maps a character to {}", type_name(mapped));
    }
    at += c.size;
  }
  return out.finish();
}

bool is_printable_text(std::string_view text) {
  for (size_t at = 0; at < text.size(); at += code_point_at(text, at).size) {
    if (!is_printable(code_point_at(text, at).value)) return false;
  }
  return true;
}

bool is_name(std::string_view text) {
  for (size_t at = 0; at < text.size(); at += code_point_at(text, at).size) {
    const int32_t c = code_point_at(text, at).value;
    if (at == 0 ? !begins_name(c) : !continues_name(c)) return false;
  }
  return !text.empty();
}

template <bool (*kHolds)(std::string_view)>
absl::StatusOr<Value> whole_is(Workspace& work, const Value& self, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("a test of a text", given));
  const std::string_view view = std::get<Text>(self).view();
  RETURN_IF_ERROR(work.spend_bytes(view.size(), 4));
  return Value(kHolds(view));
}

absl::StatusOr<Value> format_map(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("format_map", given, {kNameless}));
  if (bound[0] == nullptr) return invalid_argument("format_map needs a dict");
  return format_braces(work, std::get<Text>(self), {}, bound[0]);
}

absl::StatusOr<Value> format_method(Workspace& work, const Value& self, Given given) {
  return format_braces(work, std::get<Text>(self), given);
}

constexpr Method kMethods[] = {
    {"capitalize", case_method<Case::kCapitalized>},
    {"casefold", case_method<Case::kFolded>},
    {"center", justify<Side::kBoth>},
    {"count", count_method},
    {"endswith", affix_test<true>},
    {"expandtabs", expand_tabs},
    {"find", find_method_of<false, false>},
    {"format", format_method},
    {"format_map", format_map},
    {"index", find_method_of<false, true>},
    {"isalnum", all_are<is_alphanumeric>},
    {"isalpha", all_are<is_letter>},
    {"isascii", whole_is<is_ascii>},
    {"isdecimal", all_are<is_decimal>},
    {"isdigit", all_are<is_digit>},
    {"isidentifier", whole_is<is_name>},
    {"islower", is_of_case<is_lower, is_upper>},
    {"isnumeric", all_are<is_numeric>},
    {"isprintable", whole_is<is_printable_text>},
    {"isspace", all_are<is_space>},
    {"istitle", whole_is<is_title>},
    {"isupper", is_of_case<is_upper, is_lower>},
    {"join", join_method},
    {"ljust", justify<Side::kRight>},
    {"lower", case_method<Case::kLower>},
    {"lstrip", strip_method<Side::kLeft>},
    {"partition", partition<false>},
    {"removeprefix", remove_affix<false>},
    {"removesuffix", remove_affix<true>},
    {"replace", replace_method},
    {"rfind", find_method_of<true, false>},
    {"rindex", find_method_of<true, true>},
    {"rjust", justify<Side::kLeft>},
    {"rpartition", partition<true>},
    {"rsplit", split_method<true>},
    {"rstrip", strip_method<Side::kRight>},
    {"split", split_method<false>},
    {"splitlines", splitlines},
    {"startswith", affix_test<false>},
    {"strip", strip_method<Side::kBoth>},
    {"swapcase", case_method<Case::kSwapped>},
    {"title", case_method<Case::kTitle>},
    {"translate", translate},
    {"upper", case_method<Case::kUpper>},
    {"zfill", zfill},
};

}  // namespace

std::span<const Method> text_methods() { return kMethods; }

}  // namespace millrace::jinja
