#include <algorithm>
#include <optional>
#include <vector>

#include "chat/jinja/library/library.h"
#include "chat/jinja/values/operators.h"
#include "chat/jinja/values/text.h"

namespace millrace::jinja {

namespace {

template <Side kSide>
absl::StatusOr<Value> strip_ends(Workspace& work, Text text, std::optional<Text> chars) {
  ASSIGN_OR_RETURN(const Text stripped, strip(work, text, chars ? &*chars : nullptr, kSide));
  return Value(stripped);
}

template <Case kCase>
absl::StatusOr<Value> in_case(Workspace& work, Text text) {
  return change_case(work, text, kCase);
}

template <Case kCase>
absl::StatusOr<bool> is_of_case(Workspace& work, Text text) {
  return has_case(work, text, kCase);
}

template <bool kFromRight>
absl::StatusOr<Value> split_text(Workspace& work, Text text, std::optional<Text> separator,
                                 std::optional<int64_t> splits) {
  const Text* const by = separator.has_value() ? &*separator : nullptr;
  ASSIGN_OR_RETURN(const std::vector<Value> pieces,
                   kFromRight ? split_from_right(work, text, by, splits.value_or(-1))
                              : split(work, text, by, splits.value_or(-1)));
  return Value(work.list(pieces));
}

absl::StatusOr<Value> lines(Workspace& work, Text text, bool keeps_ends) {
  ASSIGN_OR_RETURN(const std::vector<Value> lines, split_lines(work, text, keeps_ends));
  return Value(work.list(lines));
}

// Where startswith, find, count and their like look, in bytes; nothing where the start lies behind
// the end, so that not even an empty text is found there.
struct Window {
  size_t begin, end;

  std::string_view of(const Text& text) const { return text.view().substr(begin, end - begin); }
};
absl::StatusOr<std::optional<Window>> window_of(Workspace& work, const Text& text,
                                                std::optional<int64_t> start,
                                                std::optional<int64_t> stop) {
  if (!start.has_value() && !stop.has_value()) return Window{0, text.size};
  RETURN_IF_ERROR(work.spend_bytes(text.size, 32));
  const int64_t size = count_code_points(text.view());
  const auto from_front = [&](int64_t at) { return at < 0 ? std::max<int64_t>(at + size, 0) : at; };
  const int64_t begin = from_front(start.value_or(0));
  const int64_t end = std::min(from_front(stop.value_or(size)), size);
  if (begin > end) return std::nullopt;
  return Window{offset_of(text.view(), begin), offset_of(text.view(), end)};
}

template <bool kAtEnd>
absl::StatusOr<bool> has_affix(Workspace& work, Text text, Value affixes,
                               std::optional<int64_t> start, std::optional<int64_t> stop) {
  ASSIGN_OR_RETURN(const std::optional<Window> window, window_of(work, text, start, stop));
  const auto* tuple = std::get_if<const List*>(&affixes);
  const bool are_several = tuple != nullptr && (*tuple)->is_tuple;
  const std::span<const Value> all = are_several ? (*tuple)->items : std::span(&affixes, 1);
  for (const Value& each : all) {
    const Text* affix = as_text(each);
    if (is_undefined(each)) return undefined_error(each);
    if (affix == nullptr) {
      return invalid_argument("startswith and endswith need a string, got {}", type_name(each));
    }
    RETURN_IF_ERROR(work.spend(1 + affix->size / 512));
    if (window.has_value() && (kAtEnd ? window->of(text).ends_with(affix->view())
                                      : window->of(text).starts_with(affix->view()))) {
      return true;
    }
  }
  return false;
}

template <bool kAtEnd>
absl::StatusOr<Value> remove_affix(Workspace& work, Text text, Text part) {
  RETURN_IF_ERROR(work.spend_bytes(part.size, 512));
  if (kAtEnd && text.view().ends_with(part.view())) {
    return Value(slice(work, text, 0, text.size - part.size));
  }
  if (!kAtEnd && text.view().starts_with(part.view())) {
    return Value(slice(work, text, part.size, text.size));
  }
  return Value(text);
}

absl::StatusOr<Value> replace_part(Workspace& work, Text text, Text old_part, Text new_part,
                                   std::optional<int64_t> count) {
  return replace(work, text, old_part, new_part, count.value_or(-1));
}

absl::StatusOr<Value> join_texts(Workspace& work, Text separator, Items given) {
  std::vector<Text> parts;
  parts.reserve(given.items.size());
  for (const Value& item : given.items) {
    Text& part = parts.emplace_back();
    RETURN_IF_ERROR(read_argument(work, {"join", "an item"}, &item, part));
  }
  return join(work, separator, parts);
}

template <bool kLast, bool kMustBeThere>
absl::StatusOr<Value> find(Workspace& work, Text text, Text part, std::optional<int64_t> start,
                           std::optional<int64_t> stop) {
  ASSIGN_OR_RETURN(const std::optional<Window> window, window_of(work, text, start, stop));
  size_t found = std::string_view::npos;
  if (window.has_value()) {
    ASSIGN_OR_RETURN(found, kLast ? find_last(work, window->of(text), part.view())
                                  : find_first(work, window->of(text), part.view()));
  }
  if (found != std::string_view::npos) {
    return Value(count_code_points(text.view().substr(0, window->begin + found)));
  }
  if (kMustBeThere) return invalid_argument("the substring was not found");
  return Value(int64_t{-1});
}

absl::StatusOr<int64_t> count_part(Workspace& work, Text text, Text part,
                                   std::optional<int64_t> start, std::optional<int64_t> stop) {
  ASSIGN_OR_RETURN(const std::optional<Window> window, window_of(work, text, start, stop));
  if (!window.has_value()) return 0;
  const std::string_view view = window->of(text);
  RETURN_IF_ERROR(work.spend_bytes(view.size(), kSearchedBytesPerStep));
  if (part.size == 0) return count_code_points(view) + 1;
  int64_t count = 0;
  for (size_t at = find_bytes(view, part.view(), 0); at != std::string_view::npos;
       at = find_bytes(view, part.view(), at + part.size)) {
    RETURN_IF_ERROR(work.spend());
    ++count;
  }
  return count;
}

// Whether every character passes, of a text that is not empty.
template <bool (*kPasses)(int32_t)>
absl::StatusOr<bool> all_are(Workspace& work, Text text) {
  RETURN_IF_ERROR(work.spend_bytes(text.size, 4));
  for (size_t at = 0; at < text.size; at += code_point_at(text.view(), at).size) {
    if (!kPasses(code_point_at(text.view(), at).value)) return false;
  }
  return text.size > 0;
}

absl::StatusOr<Value> method_format(Workspace& work, const Routine&, const Value& self,
                                    const Arguments& given) {
  return format_braces(work, std::get<Text>(self), given);
}

constexpr Routine kTextMethods[] = {
    {"capitalize", kTyped<in_case<Case::kCapitalized>>},
    {"count", kTyped<count_part>, {"/sub", "/start", "/end"}},
    {"endswith", kTyped<has_affix<true>>, {"/suffix", "/start", "/end"}},
    {"find", kTyped<find<false, false>>, {"/sub", "/start", "/end"}},
    {"format", method_format},
    {"index", kTyped<find<false, true>>, {"/sub", "/start", "/end"}},
    {"isalnum", kTyped<all_are<is_alphanumeric>>},
    {"isalpha", kTyped<all_are<is_letter>>},
    {"isdigit", kTyped<all_are<is_digit>>},
    {"islower", kTyped<is_of_case<Case::kLower>>},
    {"isspace", kTyped<all_are<is_space>>},
    {"isupper", kTyped<is_of_case<Case::kUpper>>},
    {"join", kTyped<join_texts>, {"/iterable"}},
    {"lower", kTyped<in_case<Case::kLower>>},
    {"lstrip", kTyped<strip_ends<Side::kLeft>>, {"/chars"}},
    {"removeprefix", kTyped<remove_affix<false>>, {"/prefix"}},
    {"removesuffix", kTyped<remove_affix<true>>, {"/suffix"}},
    {"replace", kTyped<replace_part>, {"/old", "/new", "/count"}},
    {"rfind", kTyped<find<true, false>>, {"/sub", "/start", "/end"}},
    {"rindex", kTyped<find<true, true>>, {"/sub", "/start", "/end"}},
    {"rsplit", kTyped<split_text<true>>, {"sep", "maxsplit"}},
    {"rstrip", kTyped<strip_ends<Side::kRight>>, {"/chars"}},
    {"split", kTyped<split_text<false>>, {"sep", "maxsplit"}},
    {"splitlines", kTyped<lines>, {"keepends"}},
    {"startswith", kTyped<has_affix<false>>, {"/prefix", "/start", "/end"}},
    {"strip", kTyped<strip_ends<Side::kBoth>>, {"/chars"}},
    {"title", kTyped<in_case<Case::kTitle>>},
    {"upper", kTyped<in_case<Case::kUpper>>},
};

// Dicts and lists.

absl::StatusOr<Value> get(Workspace& work, const Dict* dict, Value key, const Value* fallback) {
  RETURN_IF_ERROR(expect_key(work, key));
  if (const Value* found = dict->find(key)) return *found;
  return fallback == nullptr ? Value(None{}) : *fallback;
}

template <Iterator::Type kType>
absl::StatusOr<Value> view(Workspace& work, const Dict* dict) {
  const std::span<const Entry> entries = dict->entries;
  RETURN_IF_ERROR(work.spend(std::ssize(entries) / 4));
  const std::span<Value> items = work.arena().make_array<Value>(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    if constexpr (kType == Iterator::Type::kItems) {
      const std::span<Value> pair = work.arena().make_array<Value>(2);
      pair[0] = entries[i].key;
      pair[1] = entries[i].value;
      items[i] = work.tuple(pair);
    } else {
      items[i] = kType == Iterator::Type::kKeys ? entries[i].key : entries[i].value;
    }
  }
  return Value(work.iterator(items, kType));
}

constexpr Routine kDictMethods[] = {
    {"get", kTyped<get>, {"/key", "/default"}},
    {"items", kTyped<view<Iterator::Type::kItems>>},
    {"keys", kTyped<view<Iterator::Type::kKeys>>},
    {"values", kTyped<view<Iterator::Type::kValues>>},
};
// jinja2's immutable sandbox refuses these.
constexpr std::string_view kMutatingDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kMutatingList[] = {"append", "clear",  "extend",  "insert",
                                              "pop",    "remove", "reverse", "sort"};
// What Python has and no published template uses.
constexpr std::string_view kForeignText[] = {
    "casefold",   "center",    "encode",       "expandtabs", "format_map",
    "isascii",    "isdecimal", "isidentifier", "isnumeric",  "isprintable",
    "istitle",    "ljust",     "maketrans",    "partition",  "rjust",
    "rpartition", "swapcase",  "translate",    "zfill"};
constexpr std::string_view kForeignList[] = {"copy", "count", "index"};
constexpr std::string_view kForeignDict[] = {"copy", "fromkeys"};
constexpr std::string_view kForeignNumber[] = {
    "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator",
    "from_bytes",       "fromhex",   "hex",        "imag",      "is_integer",
    "numerator",        "real",      "to_bytes"};
constexpr std::string_view kForeignRange[] = {"count", "index", "start", "step", "stop"};
constexpr std::string_view kForeignView[] = {"isdisjoint", "mapping"};
constexpr std::string_view kForeignFunction[] = {"arguments", "caller", "catch_kwargs",
                                                 "catch_varargs", "name"};

struct TypeTable {
  std::span<const Routine> methods{};
  std::span<const std::string_view> mutating{};
  std::span<const std::string_view> foreign{};
};

TypeTable table_of(const Value& object) {
  if (as_text(object) != nullptr) return {kTextMethods, {}, kForeignText};
  if (std::holds_alternative<const Dict*>(object)) {
    return {kDictMethods, kMutatingDict, kForeignDict};
  }
  if (const auto* list = std::get_if<const List*>(&object)) {
    if ((*list)->is_tuple) return {{}, {}, std::span(kForeignList).subspan(1)};  // but for copy
    return {{}, kMutatingList, kForeignList};
  }
  if (auto* const* it = std::get_if<Iterator*>(&object); it != nullptr && (*it)->is_view()) {
    return {.foreign = kForeignView};
  }
  if (is_number(object)) return {.foreign = kForeignNumber};
  if (std::holds_alternative<const Range*>(object)) return {.foreign = kForeignRange};
  if (std::holds_alternative<const Callable*>(object)) return {.foreign = kForeignFunction};
  return {};
}

bool has(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

MethodLookup find_method(const Value& object, std::string_view name) {
  const TypeTable table = table_of(object);
  if (const Routine* method = find_in(table.methods, name)) {
    return {MethodLookup::Kind::kMethod, method};
  }
  if (has(table.mutating, name)) return {.kind = MethodLookup::Kind::kMutating};
  if (has(table.foreign, name)) return {.kind = MethodLookup::Kind::kUnsupported};
  return {};
}

}  // namespace millrace::jinja
