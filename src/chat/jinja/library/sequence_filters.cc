#include <algorithm>
#include <charconv>
#include <vector>

#include "chat/jinja/library/library.h"
#include "chat/jinja/values/operators.h"
#include "chat/jinja/values/text.h"

namespace millrace::jinja {

namespace {

// How filters reach into items: an attribute is an index, or names and indices joined with dots.

Value path_part(Workspace& work, const Text& path, size_t begin, size_t end) {
  const Text part = slice(work, path, begin, end);
  int64_t index = 0;
  const char* last = part.data + part.size;
  const auto result = std::from_chars(part.data, last, index);
  const bool is_index =
      part.size > 0 && part.data[0] != '-' && result.ec == std::errc() && result.ptr == last;
  return is_index ? Value(index) : Value(part);
}

// What is missing on the way becomes the fallback, if there is one.
absl::StatusOr<Value> attribute_path(Workspace& work, const Value& item, const Value& attribute,
                                     const Value* fallback = nullptr) {
  RETURN_IF_ERROR(work.spend());
  const auto or_fallback = [&](const Value& value) {
    const bool is_replaced = is_undefined(value) && fallback != nullptr && !is_none(*fallback);
    return is_replaced ? *fallback : value;
  };
  if (is_integer(attribute)) {
    ASSIGN_OR_RETURN(const Value value, get_item(work, item, attribute));
    return or_fallback(value);
  }
  const Text* path = as_text(attribute);
  if (path == nullptr) {
    return invalid_argument("an attribute must be a string, got {}", type_name(attribute));
  }
  Value value = item;
  for (size_t begin = 0; begin <= path->size;) {
    RETURN_IF_ERROR(work.spend());
    const size_t end = std::min(path->view().find('.', begin), size_t{path->size});
    ASSIGN_OR_RETURN(value, get_item(work, value, path_part(work, *path, begin, end)));
    value = or_fallback(value);
    begin = end + 1;
  }
  return value;
}

// Strings in lower case, unless the comparison is exact.
absl::StatusOr<Value> fold_case(Workspace& work, const Value& value, bool is_exact) {
  const Text* text = as_text(value);
  if (text == nullptr || is_exact) return value;
  return change_case(work, *text, Case::kLower);
}

// What items are compared by; without an attribute: by themselves.
absl::StatusOr<Value> attribute_key(Workspace& work, const Value& item,
                                    const std::optional<Value>& attribute, bool is_exact) {
  if (!attribute.has_value()) return fold_case(work, item, is_exact);
  ASSIGN_OR_RETURN(const Value value, attribute_path(work, item, *attribute));
  return fold_case(work, value, is_exact);
}

// As sort does it: several attributes joined with commas; always a list.
absl::StatusOr<Value> sort_key(Workspace& work, const Value& item,
                               const std::optional<Value>& attribute, bool is_exact) {
  std::vector<std::optional<Value>> attributes = {attribute};
  const Text* names = attribute.has_value() ? as_text(*attribute) : nullptr;
  if (names != nullptr) {
    const Text comma = make_view(",");
    RETURN_IF_ERROR(work.spend(4));
    ASSIGN_OR_RETURN(const std::vector<Value> parts, split(work, *names, &comma, -1));
    attributes.assign(parts.begin(), parts.end());
  }
  std::vector<Value> keys;
  for (const std::optional<Value>& each : attributes) {
    ASSIGN_OR_RETURN(const Value key, attribute_key(work, item, each, is_exact));
    keys.push_back(key);
  }
  return Value(work.list(keys));
}

// Sorts stably by keys; the first comparison that fails is the result's.
struct Keyed {
  Value key;
  Value item;
};
absl::StatusOr<Value> sort_by_key(Workspace& work, std::vector<Keyed>& items, bool is_reversed) {
  absl::Status status;
  std::stable_sort(items.begin(), items.end(), [&](const Keyed& a, const Keyed& b) {
    if (!status.ok()) return false;
    const absl::StatusOr<bool> order =
        is_reversed ? less(work, b.key, a.key) : less(work, a.key, b.key);
    if (!order.ok()) status = order.status();
    return order.ok() && *order;
  });
  RETURN_IF_ERROR(status);
  std::vector<Value> sorted;
  for (const Keyed& each : items) sorted.push_back(each.item);
  return Value(work.list(sorted));
}

absl::StatusOr<Value> sort(Workspace& work, Items given, bool is_reversed, bool is_exact,
                           std::optional<Value> attribute) {
  std::vector<Keyed> keyed;
  for (const Value& item : given.items) {
    ASSIGN_OR_RETURN(const Value key, sort_key(work, item, attribute, is_exact));
    keyed.push_back({key, item});
  }
  return sort_by_key(work, keyed, is_reversed);
}

absl::StatusOr<Value> dict_sort(Workspace& work, const Dict* dict, bool is_exact,
                                std::optional<Text> by, bool is_reversed) {
  const std::string_view side = by.has_value() ? by->view() : "key";
  if (side != "key" && side != "value") {
    return invalid_argument("dictsort sorts by 'key' or by 'value'");
  }
  std::vector<Keyed> keyed;
  for (const Entry& entry : dict->entries) {
    ASSIGN_OR_RETURN(const Value key,
                     fold_case(work, side == "key" ? entry.key : entry.value, is_exact));
    keyed.push_back({key, Value(work.tuple(work.keep({entry.key, entry.value})))});
  }
  return sort_by_key(work, keyed, is_reversed);
}

template <bool kWantsLargest>
absl::StatusOr<Value> extreme(Workspace& work, Items given, bool is_exact,
                              std::optional<Value> attribute) {
  const std::span<const Value> items = given.items;
  if (items.empty()) return Value(undefined_because("no aggregated item, sequence was empty"));
  Value best = items[0];
  ASSIGN_OR_RETURN(Value best_key, attribute_key(work, best, attribute, is_exact));
  for (const Value& item : items.subspan(1)) {
    ASSIGN_OR_RETURN(const Value key, attribute_key(work, item, attribute, is_exact));
    ASSIGN_OR_RETURN(const bool is_better,
                     kWantsLargest ? less(work, best_key, key) : less(work, key, best_key));
    if (!is_better) continue;
    best = item;
    best_key = key;
  }
  return best;
}

absl::StatusOr<Value> sum(Workspace& work, Items given, std::optional<Value> attribute,
                          const Value* start) {
  Value total = start == nullptr ? Value(int64_t{0}) : *start;
  if (as_text(total) != nullptr) return invalid_argument("sum does not join strings; use join");
  for (Value item : given.items) {
    RETURN_IF_ERROR(work.spend());
    if (attribute.has_value()) {
      ASSIGN_OR_RETURN(item, attribute_path(work, item, *attribute));
    }
    ASSIGN_OR_RETURN(total, add(work, total, item));
  }
  return total;
}

absl::StatusOr<Value> join_items(Workspace& work, Items given, const Value* separator,
                                 std::optional<Value> attribute) {
  Text between;
  if (separator != nullptr) {
    ASSIGN_OR_RETURN(between, to_text(work, *separator));
  }
  std::vector<Text> parts;
  parts.reserve(given.items.size());
  for (Value item : given.items) {
    if (attribute.has_value()) {
      ASSIGN_OR_RETURN(item, attribute_path(work, item, *attribute));
    }
    ASSIGN_OR_RETURN(const Text part, to_text(work, item));
    parts.push_back(part);
  }
  return join(work, between, parts);
}

absl::StatusOr<Value> length(Workspace& work, Value value) {
  ASSIGN_OR_RETURN(const std::optional<int64_t> length, length_of(work, value));
  if (!length.has_value()) return invalid_argument("a {} has no length", type_name(value));
  return Value(*length);
}

Iterator* as_generator(const Value& value) {
  auto* const* it = std::get_if<Iterator*>(&value);
  return it != nullptr && !(*it)->is_view() ? *it : nullptr;
}

absl::StatusOr<Value> first(Workspace& work, Value value) {
  constexpr std::string_view kEmpty = "no first item, sequence was empty";
  if (const Text* text = as_text(value); text != nullptr && text->size > 0) {
    return Value(slice(work, *text, 0, code_point_at(text->view(), 0).size));
  }
  Iterator* generator = as_generator(value);
  if (generator != nullptr && !generator->is_spent && !generator->items.empty()) {
    // next() takes one item and leaves the others.
    const Value item = generator->items[0];
    generator->items = generator->items.subspan(1);
    return item;
  }
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  return items.empty() ? Value(undefined_because(kEmpty)) : items[0];
}

absl::StatusOr<Value> last(Workspace& work, Value value) {
  if (const Text* text = as_text(value); text != nullptr && text->size > 0) {
    return Value(slice(work, *text, previous_boundary(text->view(), text->size), text->size));
  }
  if (as_generator(value) != nullptr) {
    return invalid_argument("a {} cannot be walked backwards", type_name(value));
  }
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  if (items.empty()) return Value(undefined_because("no last item, sequence was empty"));
  return items.back();
}

absl::StatusOr<Value> to_list(Workspace& work, Items given) {
  return Value(work.list(given.items));
}

absl::StatusOr<Value> reverse(Workspace& work, Value value) {
  if (as_text(value) != nullptr) {
    const Value back = int64_t{-1};
    return get_slice(work, value, nullptr, nullptr, &back);
  }
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  RETURN_IF_ERROR(work.spend(std::ssize(items) / 8));
  const std::span<Value> reversed = work.arena().make_array<Value>(items.size());
  std::reverse_copy(items.begin(), items.end(), reversed.begin());
  // A generator has no reversed(): jinja2 then makes a list.
  if (as_generator(value) != nullptr) return Value(work.list(reversed));
  return Value(work.iterator(reversed, Iterator::Type::kReversed));
}

// jinja2's generators compute what is asked for: these give what they made until something failed.
using Made = std::vector<Value>;

absl::StatusOr<Value> pairs(Workspace& work, Value value) {
  Made made;
  const auto* dict = std::get_if<const Dict*>(&value);
  if (is_undefined(value)) return work.generator(made, absl::OkStatus());
  if (dict == nullptr) {
    return work.generator(made, invalid_argument("items needs a dict, got {}", type_name(value)));
  }
  for (const Entry& entry : (*dict)->entries) {
    RETURN_IF_ERROR(work.spend());
    made.emplace_back(work.tuple(work.keep({entry.key, entry.value})));
  }
  return work.generator(made, absl::OkStatus());
}

absl::Status make_unique(Workspace& work, const Value& value, bool is_exact,
                         const std::optional<Value>& attribute, Made& made) {
  ASSIGN_OR_RETURN(const Walk walk, walk_of(work, value));
  std::vector<Value> keys;
  absl::Status end = walk.end;
  for (const Value& item : walk.items) {
    absl::StatusOr<Value> key = attribute_key(work, item, attribute, is_exact);
    absl::Status status = key.ok() ? expect_key(work, *key) : key.status();
    if (!status.ok()) {
      end = std::move(status);
      break;
    }
    keys.push_back(*key);
  }
  // Of equal keys a dict keeps the last value: filled from the end, the first place.
  std::vector<Entry> places;
  for (size_t i = keys.size(); i-- > 0;) places.push_back({keys[i], static_cast<int64_t>(i)});
  const Dict* firsts = work.dict(places);
  for (size_t i = 0; i < keys.size(); ++i) {
    RETURN_IF_ERROR(work.spend());
    if (std::get<int64_t>(*firsts->find(keys[i])) == static_cast<int64_t>(i)) {
      made.push_back(walk.items[i]);
    }
  }
  return end;
}

absl::StatusOr<Value> unique(Workspace& work, Value value, bool is_exact,
                             std::optional<Value> attribute) {
  Made made;
  const absl::Status status = make_unique(work, value, is_exact, attribute, made);
  return work.generator(made, status);
}

absl::StatusOr<Text> name_of(const Value& value, std::string_view what) {
  if (const Text* text = as_text(value)) return *text;
  return invalid_argument("{} must be a string, got {}", what, type_name(value));
}

constexpr Routine kMapAttribute = {"map", nullptr, {"attribute", "default"}};

absl::Status map_items(Workspace& work, const Value& value, const Arguments& given, Made& made) {
  // What is empty or none gives nothing, before anything else is looked at.
  if (!is_true(value)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Walk walk, walk_of(work, value));
  if (given.positional.empty()) {
    std::array<const Value*, 2> bound{};
    RETURN_IF_ERROR(bind_arguments(kMapAttribute, given, bound));
    if (bound[0] == nullptr) return invalid_argument("map needs a filter or attribute=...");
    for (const Value& item : walk.items) {
      ASSIGN_OR_RETURN(const Value made_item, attribute_path(work, item, *bound[0], bound[1]));
      made.push_back(made_item);
    }
    return walk.end;
  }
  ASSIGN_OR_RETURN(const Text name, name_of(given.positional[0], "the filter of map"));
  const Routine* filter = find_filter(name.view());
  if (filter == nullptr) return walk.items.empty() ? walk.end : no_filter(name.view());
  const Arguments rest{given.positional.subspan(1), given.named};
  // map may name itself: each call is one level.
  const Workspace::Level level(work);
  RETURN_IF_ERROR(level.check());
  for (const Value& item : walk.items) {
    RETURN_IF_ERROR(work.spend(2));
    ASSIGN_OR_RETURN(const Value result, filter->function(work, *filter, item, rest));
    made.push_back(result);
  }
  return walk.end;
}

absl::StatusOr<Value> map(Workspace& work, const Routine&, const Value& value,
                          const Arguments& given) {
  Made made;
  const absl::Status status = map_items(work, value, given, made);
  return work.generator(made, status);
}

absl::Status select_items(Workspace& work, const Value& value, const Arguments& given,
                          bool by_attribute, bool wanted, Made& made) {
  if (!is_true(value)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Walk walk, walk_of(work, value));
  std::span<const Value> rest = given.positional;
  const Value* attribute = nullptr;
  if (by_attribute) {
    if (rest.empty()) return invalid_argument("selectattr and rejectattr need an attribute");
    attribute = &rest[0];
    rest = rest.subspan(1);
  }
  const Routine* test = nullptr;
  if (!rest.empty()) {
    ASSIGN_OR_RETURN(const Text name, name_of(rest[0], "the name of a test"));
    test = find_test(name.view());
    if (test == nullptr) return walk.items.empty() ? walk.end : no_test(name.view());
    rest = rest.subspan(1);
  }
  for (const Value& item : walk.items) {
    RETURN_IF_ERROR(work.spend());
    Value subject = item;
    if (attribute != nullptr) {
      ASSIGN_OR_RETURN(subject, attribute_path(work, item, *attribute));
    }
    if (test != nullptr) {
      ASSIGN_OR_RETURN(subject, test->function(work, *test, subject, {rest, given.named}));
    }
    if (is_true(subject) == wanted) made.push_back(item);
  }
  return walk.end;
}

template <bool kByAttribute, bool kWanted>
absl::StatusOr<Value> select(Workspace& work, const Routine&, const Value& value,
                             const Arguments& given) {
  Made made;
  const absl::Status status = select_items(work, value, given, kByAttribute, kWanted, made);
  return work.generator(made, status);
}

constexpr Routine kSequenceFilters[] = {
    {"count", kTyped<length>},
    {"dictsort", kTyped<dict_sort>, {"case_sensitive", "by", "reverse"}},
    {"first", kTyped<first>},
    {"items", kTyped<pairs>},
    {"join", kTyped<join_items>, {"d", "attribute"}},
    {"last", kTyped<last>},
    {"length", kTyped<length>},
    {"list", kTyped<to_list>},
    {"map", map},
    {"max", kTyped<extreme<true>>, {"case_sensitive", "attribute"}},
    {"min", kTyped<extreme<false>>, {"case_sensitive", "attribute"}},
    {"reject", select<false, false>},
    {"rejectattr", select<true, false>},
    {"reverse", kTyped<reverse>},
    {"select", select<false, true>},
    {"selectattr", select<true, true>},
    {"sort", kTyped<sort>, {"reverse", "case_sensitive", "attribute"}},
    {"sum", kTyped<sum>, {"attribute", "start"}},
    {"unique", kTyped<unique>, {"case_sensitive", "attribute"}},
};

}  // namespace

std::span<const Routine> sequence_filters() { return kSequenceFilters; }

}  // namespace millrace::jinja
