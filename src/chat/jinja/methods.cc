#include "chat/jinja/methods.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "chat/jinja/access.h"
#include "chat/jinja/compare.h"

namespace millrace::jinja {

namespace {

using Given = const Arguments&;

const Dict& dict_of(const Value& self) { return *std::get<const Dict*>(self); }

absl::StatusOr<Value> get(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("get", given, {kNameless, kNameless}));
  if (bound[0] == nullptr) return invalid_argument("get needs a key");
  RETURN_IF_ERROR(expect_key(work, *bound[0]));
  if (const Value* found = dict_of(self).find(*bound[0])) return *found;
  return bound[1] == nullptr ? Value(None{}) : *bound[1];
}

template <Iterator::Type kType>
absl::StatusOr<Value> view(Workspace& work, const Value& self, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("keys, values and items", given));
  const std::span<const Entry> entries = dict_of(self).entries;
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

// Values cannot change, so a copy is the thing itself.
absl::StatusOr<Value> copy(Workspace&, const Value& self, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("copy", given));
  return self;
}

absl::StatusOr<Value> count(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("count", given, {kNameless}));
  if (bound[0] == nullptr) return invalid_argument("count needs a value");
  int64_t number = 0;
  for (const Value& item : std::get<const List*>(self)->items) {
    RETURN_IF_ERROR(work.spend());
    ASSIGN_OR_RETURN(const bool same, equal(work, item, *bound[0]));
    number += same ? 1 : 0;
  }
  return Value(number);
}

absl::StatusOr<Value> index(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound,
                   bind_arguments("index", given, {kNameless, kNameless, kNameless}));
  if (bound[0] == nullptr) return invalid_argument("index needs a value");
  const std::span<const Value> items = std::get<const List*>(self)->items;
  const auto place = [&](const Value* value, int64_t fallback) -> absl::StatusOr<int64_t> {
    ASSIGN_OR_RETURN(const int64_t at, integer_argument(value, fallback, "a bound of index"));
    return std::clamp<int64_t>(at < 0 ? at + std::ssize(items) : at, 0, std::ssize(items));
  };
  ASSIGN_OR_RETURN(int64_t at, place(bound[1], 0));
  ASSIGN_OR_RETURN(const int64_t stop, place(bound[2], std::ssize(items)));
  for (; at < stop; ++at) {
    RETURN_IF_ERROR(work.spend());
    ASSIGN_OR_RETURN(const bool same, equal(work, items[static_cast<size_t>(at)], *bound[0]));
    if (same) return Value(at);
  }
  return invalid_argument("the value is not in the list");
}

absl::StatusOr<Value> from_keys(Workspace& work, const Value&, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("fromkeys", given, {kNameless, kNameless}));
  if (bound[0] == nullptr) return invalid_argument("fromkeys needs keys");
  ASSIGN_OR_RETURN(const std::span<const Value> keys, items_of(work, *bound[0]));
  std::vector<Entry> entries;
  for (const Value& key : keys) {
    RETURN_IF_ERROR(expect_key(work, key));
    RETURN_IF_ERROR(work.spend());
    entries.push_back({key, bound[1] == nullptr ? Value(None{}) : *bound[1]});
  }
  return Value(work.dict(entries));
}

// Whether a range has the number, and where.
absl::StatusOr<std::optional<int64_t>> place_in(Workspace& work, const Range& range,
                                                const Value& number) {
  for (int64_t i = 0; is_number(number) && i < range.size(); ++i) {
    RETURN_IF_ERROR(work.spend());
    ASSIGN_OR_RETURN(const bool same, equal(work, Value(range.at(i)), number));
    if (same) return i;
  }
  return std::nullopt;
}

template <bool kCounts>
absl::StatusOr<Value> find_in_range(Workspace& work, const Value& self, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("index and count", given, {kNameless}));
  if (bound[0] == nullptr) return invalid_argument("index and count need a value");
  ASSIGN_OR_RETURN(const std::optional<int64_t> place,
                   place_in(work, *std::get<const Range*>(self), *bound[0]));
  if (kCounts) return Value(int64_t{place.has_value()});
  if (!place.has_value()) return invalid_argument("the value is not in the range");
  return Value(*place);
}

// Of a cycler.
absl::StatusOr<Value> take_turn(Workspace&, const Value& self, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("next", given));
  Cycler& cycler = *std::get<Cycler*>(self);
  const Value& item = cycler.items[cycler.next];
  cycler.next = (cycler.next + 1) % cycler.items.size();
  return item;
}
absl::StatusOr<Value> reset(Workspace&, const Value& self, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("reset", given));
  std::get<Cycler*>(self)->next = 0;
  return Value(None{});
}

constexpr Method kDictMethods[] = {
    {"copy", copy},
    {"fromkeys", from_keys},
    {"get", get},
    {"items", view<Iterator::Type::kItems>},
    {"keys", view<Iterator::Type::kKeys>},
    {"values", view<Iterator::Type::kValues>},
};
constexpr Method kListMethods[] = {
    {"copy", copy},  // the first; tuples have the others
    {"count", count},
    {"index", index},
};

constexpr Method kRangeMethods[] = {{"count", find_in_range<true>},
                                    {"index", find_in_range<false>}};
constexpr Method kCyclerMethods[] = {{"next", take_turn}, {"reset", reset}};

// jinja2's immutable sandbox refuses these.
constexpr std::string_view kMutatingDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kMutatingList[] = {"append", "clear",  "extend",  "insert",
                                              "pop",    "remove", "reverse", "sort"};
// What Python has and templates have no use for; bytes are no value here.
constexpr std::string_view kForeignText[] = {"encode", "maketrans"};
constexpr std::string_view kForeignInteger[] = {"as_integer_ratio", "from_bytes", "is_integer",
                                                "to_bytes"};
constexpr std::string_view kForeignFloat[] = {"as_integer_ratio", "fromhex", "hex"};
constexpr std::string_view kForeignView[] = {"isdisjoint", "mapping"};
constexpr std::string_view kForeignFunction[] = {"arguments", "caller", "catch_kwargs",
                                                 "catch_varargs", "name"};

struct TypeTable {
  std::span<const Method> methods;
  std::span<const std::string_view> mutating;
  std::span<const std::string_view> foreign;
};

TypeTable table_of(const Value& object) {
  if (as_text(object) != nullptr) return {text_methods(), {}, kForeignText};
  if (std::holds_alternative<const Dict*>(object)) {
    return {kDictMethods, kMutatingDict, {}};
  }
  if (const auto* list = std::get_if<const List*>(&object)) {
    if ((*list)->is_tuple) return {std::span(kListMethods).subspan(1), {}, {}};
    return {kListMethods, kMutatingList, {}};
  }
  if (std::holds_alternative<Cycler*>(object)) return {kCyclerMethods, {}, {}};
  if (auto* const* it = std::get_if<Iterator*>(&object); it != nullptr && (*it)->is_view()) {
    return {{}, {}, kForeignView};
  }
  if (is_integer(object)) return {integer_methods(), {}, kForeignInteger};
  if (is_number(object)) return {float_methods(), {}, kForeignFloat};
  if (std::holds_alternative<const Range*>(object)) return {kRangeMethods, {}, {}};
  if (std::holds_alternative<const Callable*>(object)) return {{}, {}, kForeignFunction};
  return {};
}

bool has(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::span<const Method> dict_methods() { return kDictMethods; }
std::span<const Method> list_methods() { return kListMethods; }

MethodLookup find_method(const Value& object, std::string_view name) {
  const TypeTable table = table_of(object);
  for (const Method& method : table.methods) {
    if (method.name == name) {
      return {MethodLookup::Kind::kMethod, method.name, method.function};
    }
  }
  if (has(table.mutating, name)) return {.kind = MethodLookup::Kind::kMutating};
  if (has(table.foreign, name)) return {.kind = MethodLookup::Kind::kUnsupported};
  return {};
}

}  // namespace millrace::jinja
