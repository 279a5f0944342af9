#include <algorithm>
#include <charconv>
#include <vector>

#include "chat/jinja/access.h"
#include "chat/jinja/case_mapping.h"
#include "chat/jinja/compare.h"
#include "chat/jinja/filters.h"
#include "chat/jinja/print.h"
#include "chat/jinja/selection.h"
#include "chat/jinja/tests.h"
#include "chat/jinja/text_ops.h"

namespace millrace::jinja {

namespace {

using Given = const Arguments&;

Value path_part(Workspace& work, const Text& path, size_t begin, size_t end) {
  const Text part = slice(work, path, begin, end);
  int64_t index = 0;
  const char* last = part.data + part.size;
  const auto result = std::from_chars(part.data, last, index);
  const bool is_index =
      part.size > 0 && part.data[0] != '-' && result.ec == std::errc() && result.ptr == last;
  return is_index ? Value(index) : Value(part);
}

absl::StatusOr<Value> attr_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("attr", given, {"name"}));
  if (bound[0] == nullptr) return invalid_argument("attr needs a name");
  ASSIGN_OR_RETURN(const Text name, text_argument(bound[0], {}, "the name of attr"));
  // Only what is an attribute: keys do not count here.
  if (std::holds_alternative<const Dict*>(value)) {
    const Value empty(work.dict({}));
    return get_attribute(work, empty, name.view());
  }
  return get_attribute(work, value, name.view());
}

// jinja2's generators compute what is asked for: these give what they made until something failed.
using Made = std::vector<Value>;

absl::Status map_attribute(Workspace& work, const Walk& walk, Given given, Made& made) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("map", given, {"attribute", "default"}));
  if (bound[0] == nullptr) return invalid_argument("map needs a filter or attribute=...");
  for (const Value& item : walk.items) {
    ASSIGN_OR_RETURN(const Value value, attribute_path(work, item, *bound[0], bound[1]));
    made.push_back(value);
  }
  return walk.end;
}

absl::Status map_items(Workspace& work, const Value& value, Given given, Made& made) {
  // What is empty or none gives nothing, before anything else is looked at.
  if (!is_true(value)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Walk walk, walk_of(work, value));
  if (given.positional.empty()) return map_attribute(work, walk, given, made);
  ASSIGN_OR_RETURN(const Text name, text_argument(&given.positional[0], {}, "the filter of map"));
  const Filter* filter = find_filter(name.view());
  if (filter == nullptr) return invalid_argument("no filter named '{}'", name.view());
  const Arguments rest{given.positional.subspan(1), given.named};
  // map may name itself: each call is one level.
  const Workspace::Level level(work);
  RETURN_IF_ERROR(level.check());
  for (const Value& item : walk.items) {
    RETURN_IF_ERROR(work.spend(2));
    ASSIGN_OR_RETURN(const Value result, filter->function(work, item, rest));
    made.push_back(result);
  }
  return walk.end;
}

absl::StatusOr<Value> map_filter(Workspace& work, const Value& value, Given given) {
  Made made;
  const absl::Status status = map_items(work, value, given, made);
  return work.generator(made, status);
}

template <bool kByAttribute, bool kWanted>
absl::Status select_items(Workspace& work, const Value& value, Given given, Made& made) {
  if (!is_true(value)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Walk walk, walk_of(work, value));
  std::span<const Value> rest = given.positional;
  const Value* attribute = nullptr;
  if constexpr (kByAttribute) {
    if (rest.empty()) return invalid_argument("selectattr and rejectattr need an attribute");
    attribute = &rest[0];
    rest = rest.subspan(1);
  }
  const Test* test = nullptr;
  if (!rest.empty()) {
    ASSIGN_OR_RETURN(const Text name, text_argument(&rest[0], {}, "the name of a test"));
    test = find_test(name.view());
    if (test == nullptr) return invalid_argument("no test named '{}'", name.view());
    rest = rest.subspan(1);
  }
  for (const Value& item : walk.items) {
    RETURN_IF_ERROR(work.spend());
    Value subject = item;
    if (attribute != nullptr) {
      ASSIGN_OR_RETURN(subject, attribute_path(work, item, *attribute));
    }
    bool passes = is_true(subject);
    if (test != nullptr) {
      ASSIGN_OR_RETURN(passes, test->function(work, subject, {rest, given.named}));
    }
    if (passes == kWanted) made.push_back(item);
  }
  return walk.end;
}

template <bool kByAttribute, bool kWanted>
absl::StatusOr<Value> select_filter(Workspace& work, const Value& value, Given given) {
  Made made;
  const absl::Status status = select_items<kByAttribute, kWanted>(work, value, given, made);
  return work.generator(made, status);
}

absl::StatusOr<Value> group_by_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound,
                   bind_arguments("groupby", given, {"attribute", "default", "case_sensitive"}));
  if (bound[0] == nullptr) return invalid_argument("groupby needs an attribute");
  const bool is_exact = flag_argument(bound[2], false);
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  struct Keyed {
    Value key, name, item;
  };
  std::vector<Keyed> keyed;
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(const Value name, attribute_path(work, item, *bound[0], bound[1]));
    ASSIGN_OR_RETURN(const Value key, fold_case(work, name, is_exact));
    keyed.push_back({key, name, item});
  }
  absl::Status status;
  std::stable_sort(keyed.begin(), keyed.end(), [&](const Keyed& a, const Keyed& b) {
    if (!status.ok()) return false;
    const absl::StatusOr<bool> order = less(work, a.key, b.key);
    if (!order.ok()) status = order.status();
    return order.ok() && *order;
  });
  RETURN_IF_ERROR(status);
  std::vector<Value> groups;
  for (size_t begin = 0; begin < keyed.size();) {
    std::vector<Value> members;
    size_t end = begin;
    for (; end < keyed.size(); ++end) {
      ASSIGN_OR_RETURN(const bool same, equal(work, keyed[begin].key, keyed[end].key));
      if (!same) break;
      members.push_back(keyed[end].item);
    }
    const std::span<const Value> group = work.keep({keyed[begin].name, Value(work.list(members))});
    groups.emplace_back(work.arena().make<List>(group, true, true));
    // A NaN equals nothing, itself neither.
    begin = std::max(end, begin + 1);
  }
  return Value(work.list(groups));
}

constexpr Filter kFilters[] = {
    {"attr", attr_filter},
    {"groupby", group_by_filter},
    {"map", map_filter},
    {"reject", select_filter<false, false>},
    {"rejectattr", select_filter<true, false>},
    {"select", select_filter<false, true>},
    {"selectattr", select_filter<true, true>},
};

}  // namespace

std::span<const Filter> selection_filters() { return kFilters; }

absl::StatusOr<Value> attribute_path(Workspace& work, const Value& item, const Value& attribute,
                                     const Value* fallback) {
  RETURN_IF_ERROR(work.spend());
  const auto or_fallback = [&](const Value& value) {
    const bool is_replaced = is_undefined(value) && fallback != nullptr && !is_none(*fallback);
    return is_replaced ? *fallback : value;
  };
  if (is_integer(attribute)) {
    ASSIGN_OR_RETURN(const Value value, get_item(work, item, attribute));
    return or_fallback(value);
  }
  ASSIGN_OR_RETURN(const Text path, text_argument(&attribute, {}, "an attribute"));
  Value value = item;
  for (size_t begin = 0; begin <= path.size;) {
    RETURN_IF_ERROR(work.spend());
    const size_t end = std::min(path.view().find('.', begin), size_t{path.size});
    ASSIGN_OR_RETURN(value, get_item(work, value, path_part(work, path, begin, end)));
    value = or_fallback(value);
    begin = end + 1;
  }
  return value;
}

absl::StatusOr<Value> fold_case(Workspace& work, const Value& value, bool is_exact) {
  const Text* text = as_text(value);
  if (text == nullptr || is_exact) return value;
  return change_case(work, *text, Case::kLower);
}

absl::StatusOr<Value> attribute_key(Workspace& work, const Value& item, const Value* attribute,
                                    bool is_exact) {
  if (attribute == nullptr || is_none(*attribute)) return fold_case(work, item, is_exact);
  ASSIGN_OR_RETURN(const Value value, attribute_path(work, item, *attribute));
  return fold_case(work, value, is_exact);
}

absl::StatusOr<Value> sort_key(Workspace& work, const Value& item, const Value* attribute,
                               bool is_exact) {
  std::vector<Value> keys;
  const Text* names = attribute == nullptr ? nullptr : as_text(*attribute);
  if (names == nullptr) {
    ASSIGN_OR_RETURN(const Value key, attribute_key(work, item, attribute, is_exact));
    keys.push_back(key);
    return Value(work.list(keys));
  }
  const Text comma = make_view(",");
  RETURN_IF_ERROR(work.spend(4));
  ASSIGN_OR_RETURN(const std::vector<Value> parts, split(work, *names, &comma, -1));
  for (const Value& part : parts) {
    ASSIGN_OR_RETURN(const Value key, attribute_key(work, item, &part, is_exact));
    keys.push_back(key);
  }
  return Value(work.list(keys));
}

}  // namespace millrace::jinja
