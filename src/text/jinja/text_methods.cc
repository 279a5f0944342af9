#include <array>

#include "text/jinja/access.h"
#include "text/jinja/format.h"
#include "text/jinja/methods.h"
#include "text/jinja/print.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/text_search.h"

namespace millrace::jinja {

namespace {

using Given = const Arguments&;

template <Side kSide>
absl::StatusOr<Value> strip_method(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("strip", given, {"chars"}));
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

template <bool kAtEnd>
absl::StatusOr<Value> affix_test(Workspace& work, const Value& self, Given given) {
  if (given.positional.size() != 1 || !given.named.empty()) {
    return invalid_argument("startswith and endswith take one argument here");
  }
  const std::string_view text = std::get<Text>(self).view();
  const auto matches = [&](const Value& affix) -> absl::StatusOr<bool> {
    ASSIGN_OR_RETURN(const Text part,
                     text_argument(&affix, {}, "what a string begins or ends with"));
    RETURN_IF_ERROR(work.spend_bytes(part.size, 512));
    return kAtEnd ? text.ends_with(part.view()) : text.starts_with(part.view());
  };
  const auto* tuple = std::get_if<const List*>(&given.positional[0]);
  if (tuple == nullptr || !(*tuple)->is_tuple) {
    ASSIGN_OR_RETURN(const bool is_match, matches(given.positional[0]));
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
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("removeprefix", given, {"affix"}));
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
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("replace", given, {"old", "new", "count"}));
  if (bound[1] == nullptr) return invalid_argument("replace needs an old and a new string");
  ASSIGN_OR_RETURN(const Text old_part, text_argument(bound[0], {}, "the old part"));
  ASSIGN_OR_RETURN(const Text new_part, text_argument(bound[1], {}, "the new part"));
  ASSIGN_OR_RETURN(const int64_t count, integer_argument(bound[2], -1, "the count of replace"));
  return replace(work, std::get<Text>(self), old_part, new_part, count);
}

absl::StatusOr<Value> join_method(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("join", given, {"iterable"}));
  if (bound[0] == nullptr) return invalid_argument("join needs a list of strings");
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, *bound[0]));
  std::vector<Text> parts;
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(const Text part, text_argument(&item, {}, "what join joins"));
    parts.push_back(part);
  }
  return join(work, std::get<Text>(self), parts);
}

// Where the search of find, index and count begins and ends, in bytes.
struct Window {
  size_t begin, end;
};
absl::StatusOr<Window> window_of(Workspace& work, const Text& text, const Value* start,
                                 const Value* stop) {
  if (start == nullptr && stop == nullptr) return Window{0, text.size};
  ASSIGN_OR_RETURN(const Value part, get_slice(work, Value(text), start, stop, nullptr));
  const Text& view = std::get<Text>(part);
  const auto begin = static_cast<size_t>(view.data - text.data);
  return Window{begin, begin + view.size};
}

template <bool kLast, bool kMustBeThere>
absl::StatusOr<Value> find_method_of(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("find", given, {"sub", "start", "end"}));
  if (bound[0] == nullptr) return invalid_argument("find and index need a string");
  ASSIGN_OR_RETURN(const Text part, text_argument(bound[0], {}, "what is looked for"));
  const Text& text = std::get<Text>(self);
  ASSIGN_OR_RETURN(const Window window, window_of(work, text, bound[1], bound[2]));
  const std::string_view view = text.view().substr(window.begin, window.end - window.begin);
  ASSIGN_OR_RETURN(const size_t found, kLast ? find_last(work, view, part.view())
                                             : find_first(work, view, part.view()));
  if (found == std::string_view::npos) {
    if (kMustBeThere) return invalid_argument("the substring was not found");
    return Value(int64_t{-1});
  }
  return Value(count_code_points(text.view().substr(0, window.begin + found)));
}

absl::StatusOr<Value> count_method(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("count", given, {"sub", "start", "end"}));
  if (bound[0] == nullptr) return invalid_argument("count needs a string");
  ASSIGN_OR_RETURN(const Text part, text_argument(bound[0], {}, "what is counted"));
  const Text& text = std::get<Text>(self);
  ASSIGN_OR_RETURN(const Window window, window_of(work, text, bound[1], bound[2]));
  const std::string_view view = text.view().substr(window.begin, window.end - window.begin);
  RETURN_IF_ERROR(work.spend_bytes(view.size()));
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
  RETURN_IF_ERROR(work.spend_bytes(view.size(), 8));
  for (size_t at = 0; at < view.size(); at += code_point_at(view, at).size) {
    if (!kPasses(code_point_at(view, at).value)) return Value(false);
  }
  return Value(!view.empty());
}
bool is_alphanumeric(int32_t c) { return is_letter(c) || is_numeric(c); }

// isupper and islower: some cased character, and none of the other case.
template <bool (*kWanted)(int32_t), bool (*kOther)(int32_t)>
absl::StatusOr<Value> is_of_case(Workspace& work, const Value& self, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("a test of case", given));
  const std::string_view view = std::get<Text>(self).view();
  RETURN_IF_ERROR(work.spend_bytes(view.size(), 8));
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
                   bind_arguments("a method that pads", given, {"width", "fillchar"}));
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
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("partition", given, {"sep"}));
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

absl::StatusOr<Value> format_method(Workspace& work, const Value& self, Given given) {
  return format_braces(work, std::get<Text>(self), given);
}

constexpr Method kMethods[] = {
    {"capitalize", case_method<Case::kCapitalized>},
    {"center", justify<Side::kBoth>},
    {"count", count_method},
    {"endswith", affix_test<true>},
    {"find", find_method_of<false, false>},
    {"format", format_method},
    {"index", find_method_of<false, true>},
    {"isalnum", all_are<is_alphanumeric>},
    {"isalpha", all_are<is_letter>},
    {"isdecimal", all_are<is_decimal>},
    {"isdigit", all_are<is_decimal>},
    {"islower", is_of_case<is_lower, is_upper>},
    {"isnumeric", all_are<is_numeric>},
    {"isspace", all_are<is_space>},
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
    {"upper", case_method<Case::kUpper>},
};

}  // namespace

std::span<const Method> text_methods() { return kMethods; }

}  // namespace millrace::jinja
