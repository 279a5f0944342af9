#include <algorithm>
#include <vector>

#include "chat/jinja/access.h"
#include "chat/jinja/arithmetic.h"
#include "chat/jinja/compare.h"
#include "chat/jinja/filters.h"
#include "chat/jinja/print.h"
#include "chat/jinja/selection.h"
#include "chat/jinja/text_ops.h"
#include "chat/jinja/text_search.h"

namespace millrace::jinja {

namespace {

using Given = const Arguments&;

absl::StatusOr<Value> join_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("join", given, {"d", "attribute"}));
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  Text separator;
  if (bound[0] != nullptr) {
    ASSIGN_OR_RETURN(separator, to_text(work, *bound[0]));
  }
  std::vector<Text> parts;
  parts.reserve(items.size());
  for (Value item : items) {
    if (bound[1] != nullptr && !is_none(*bound[1])) {
      ASSIGN_OR_RETURN(item, attribute_path(work, item, *bound[1]));
    }
    ASSIGN_OR_RETURN(const Text part, to_text(work, item));
    parts.push_back(part);
  }
  return join(work, separator, parts);
}

absl::StatusOr<Value> length_filter(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("length", given));
  ASSIGN_OR_RETURN(const std::optional<int64_t> length, length_of(work, value));
  if (!length.has_value()) return invalid_argument("a {} has no length", type_name(value));
  return Value(*length);
}

// The items, where a text need not be taken apart whole.
absl::StatusOr<Value> first_filter(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("first", given));
  if (const Text* text = as_text(value); text != nullptr && text->size > 0) {
    return Value(slice(work, *text, 0, code_point_at(text->view(), 0).size));
  }
  if (auto* const* it = std::get_if<Iterator*>(&value); it != nullptr && !(*it)->is_view()) {
    // next() takes one item and leaves the others.
    if (!(*it)->is_spent && (*it)->items.empty()) {
      RETURN_IF_ERROR(items_of(work, value).status());
    }
    if ((*it)->is_spent || (*it)->items.empty()) {
      return Value(undefined_because("no first item, sequence was empty"));
    }
    const Value first = (*it)->items[0];
    (*it)->items = (*it)->items.subspan(1);
    return first;
  }
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  if (items.empty()) return Value(undefined_because("no first item, sequence was empty"));
  return items[0];
}

absl::StatusOr<Value> last_filter(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("last", given));
  if (const Text* text = as_text(value); text != nullptr && text->size > 0) {
    return Value(slice(work, *text, previous_boundary(text->view(), text->size), text->size));
  }
  if (auto* const* it = std::get_if<Iterator*>(&value); it != nullptr && !(*it)->is_view()) {
    return invalid_argument("a {} cannot be walked backwards", type_name(value));
  }
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  if (items.empty()) return Value(undefined_because("no last item, sequence was empty"));
  return items.back();
}

absl::StatusOr<Value> list_filter(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("list", given));
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  return Value(work.list(items));
}

absl::StatusOr<Value> reverse_filter(Workspace& work, const Value& value, Given given) {
  RETURN_IF_ERROR(expect_no_arguments("reverse", given));
  if (as_text(value) != nullptr) {
    const Value back = int64_t{-1};
    return get_slice(work, value, nullptr, nullptr, &back);
  }
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  RETURN_IF_ERROR(work.spend(std::ssize(items) / 8));
  const std::span<Value> reversed = work.arena().make_array<Value>(items.size());
  std::reverse_copy(items.begin(), items.end(), reversed.begin());
  // A generator has no reversed(): jinja2 then makes a list.
  if (auto* const* it = std::get_if<Iterator*>(&value); it != nullptr && !(*it)->is_view()) {
    return Value(work.list(reversed));
  }
  return Value(work.iterator(reversed, Iterator::Type::kReversed));
}

// jinja2's generators compute what is asked for: these give what they made until something failed.
using Made = std::vector<Value>;
using MakeItems = absl::Status (*)(Workspace&, const Value&, Given, Made&);

template <MakeItems kMake>
absl::StatusOr<Value> lazily(Workspace& work, const Value& value, Given given) {
  Made made;
  const absl::Status status = kMake(work, value, given, made);
  return work.generator(made, status);
}

absl::Status make_pairs(Workspace& work, const Value& value, Given given, Made& made) {
  RETURN_IF_ERROR(expect_no_arguments("items", given));
  if (is_undefined(value)) return absl::OkStatus();
  const auto* dict = std::get_if<const Dict*>(&value);
  if (dict == nullptr) return invalid_argument("items needs a dict, got {}", type_name(value));
  for (const Entry& entry : (*dict)->entries) {
    RETURN_IF_ERROR(work.spend());
    made.emplace_back(work.tuple(work.keep({entry.key, entry.value})));
  }
  return absl::OkStatus();
}

// Sorted stably by keys; the first failing comparison is the result's.
struct Keyed {
  Value key;
  Value item;
};
absl::Status sort_by_key(Workspace& work, std::vector<Keyed>& items, bool is_reversed) {
  absl::Status status;
  std::stable_sort(items.begin(), items.end(), [&](const Keyed& a, const Keyed& b) {
    if (!status.ok()) return false;
    const absl::StatusOr<bool> order =
        is_reversed ? less(work, b.key, a.key) : less(work, a.key, b.key);
    if (!order.ok()) status = order.status();
    return order.ok() && *order;
  });
  return status;
}

absl::StatusOr<Value> sort_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound,
                   bind_arguments("sort", given, {"reverse", "case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  std::vector<Keyed> keyed;
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(const Value key,
                     sort_key(work, item, bound[2], flag_argument(bound[1], false)));
    keyed.push_back({key, item});
  }
  RETURN_IF_ERROR(sort_by_key(work, keyed, flag_argument(bound[0], false)));
  std::vector<Value> sorted;
  for (const Keyed& each : keyed) sorted.push_back(each.item);
  return Value(work.list(sorted));
}

absl::StatusOr<Value> dict_sort_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound,
                   bind_arguments("dictsort", given, {"case_sensitive", "by", "reverse"}));
  ASSIGN_OR_RETURN(const Text by, text_argument(bound[1], make_view("key"), "'by' of dictsort"));
  if (by.view() != "key" && by.view() != "value") {
    return invalid_argument("dictsort sorts by 'key' or by 'value'");
  }
  if (is_undefined(value)) return undefined_error(value);
  const auto* dict = std::get_if<const Dict*>(&value);
  if (dict == nullptr) return invalid_argument("dictsort needs a dict, got {}", type_name(value));
  std::vector<Keyed> keyed;
  for (const Entry& entry : (*dict)->entries) {
    ASSIGN_OR_RETURN(const Value key, fold_case(work, by.view() == "key" ? entry.key : entry.value,
                                                flag_argument(bound[0], false)));
    keyed.push_back({key, Value(work.tuple(work.keep({entry.key, entry.value})))});
  }
  RETURN_IF_ERROR(sort_by_key(work, keyed, flag_argument(bound[2], false)));
  std::vector<Value> sorted;
  for (const Keyed& each : keyed) sorted.push_back(each.item);
  return Value(work.list(sorted));
}

template <bool kWantsLargest>
absl::StatusOr<Value> extreme_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound,
                   bind_arguments("min and max", given, {"case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  if (items.empty()) return Value(undefined_because("no aggregated item, sequence was empty"));
  const bool is_exact = flag_argument(bound[0], false);
  Value best = items[0];
  ASSIGN_OR_RETURN(Value best_key, attribute_key(work, best, bound[1], is_exact));
  for (const Value& item : items.subspan(1)) {
    ASSIGN_OR_RETURN(const Value key, attribute_key(work, item, bound[1], is_exact));
    ASSIGN_OR_RETURN(const bool is_better,
                     kWantsLargest ? less(work, best_key, key) : less(work, key, best_key));
    if (!is_better) continue;
    best = item;
    best_key = key;
  }
  return best;
}

absl::StatusOr<Value> sum_filter(Workspace& work, const Value& value, Given given) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("sum", given, {"attribute", "start"}));
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  Value total = bound[1] == nullptr ? Value(int64_t{0}) : *bound[1];
  if (as_text(total) != nullptr) return invalid_argument("sum does not join strings; use join");
  for (Value item : items) {
    RETURN_IF_ERROR(work.spend());
    if (bound[0] != nullptr && !is_none(*bound[0])) {
      ASSIGN_OR_RETURN(item, attribute_path(work, item, *bound[0]));
    }
    ASSIGN_OR_RETURN(total, binary(work, BinaryOp::kAdd, total, item));
  }
  return total;
}

absl::Status make_unique_items(Workspace& work, const Value& value, Given given, Made& made) {
  ASSIGN_OR_RETURN(const auto bound,
                   bind_arguments("unique", given, {"case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(const Walk walk, walk_of(work, value));
  absl::Status end = walk.end;
  std::vector<Value> keys;
  for (const Value& item : walk.items) {
    absl::StatusOr<Value> key = attribute_key(work, item, bound[1], flag_argument(bound[0], false));
    if (key.ok()) end = expect_key(work, *key);
    if (!key.ok() || !end.ok()) {
      end.Update(key.status());
      break;
    }
    keys.push_back(*key);
    end = walk.end;
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

absl::Status make_batches(Workspace& work, const Value& value, Given given, Made& made) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("batch", given, {"linecount", "fill_with"}));
  if (bound[0] == nullptr) return invalid_argument("batch needs a size");
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  // Of a size that no count of items equals, one batch holds them all.
  const bool is_size = fits_int64(*bound[0]) && integer_of(*bound[0]) >= 0;
  const int64_t size = is_size ? integer_of(*bound[0]) : INT64_MAX;
  Made batch;
  for (size_t i = 0; i <= items.size(); ++i) {
    const bool is_last = i == items.size();
    if (is_last ? !batch.empty() : std::ssize(batch) == size) {
      if (is_last && is_size && bound[1] != nullptr && !is_none(*bound[1])) {
        RETURN_IF_ERROR(work.expect_items(size));
        if (std::ssize(batch) < size) batch.resize(static_cast<size_t>(size), *bound[1]);
      }
      RETURN_IF_ERROR(work.spend(1 + std::ssize(batch) / 8));
      made.emplace_back(work.list(batch));
      batch.clear();
    }
    if (!is_last) batch.push_back(items[i]);
  }
  return absl::OkStatus();
}

absl::Status make_slices(Workspace& work, const Value& value, Given given, Made& made) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("slice", given, {"slices", "fill_with"}));
  if (bound[0] == nullptr) return invalid_argument("slice needs a number of slices");
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  ASSIGN_OR_RETURN(const int64_t slices, integer_argument(bound[0], 0, "the number of slices"));
  if (slices == 0) return invalid_argument("the number of slices cannot be 0");
  RETURN_IF_ERROR(work.expect_items(slices));
  const int64_t each = slices < 0 ? 0 : std::ssize(items) / slices;
  const int64_t extra = slices < 0 ? 0 : std::ssize(items) % slices;
  auto at = items.begin();
  for (int64_t i = 0; i < slices; ++i) {
    RETURN_IF_ERROR(work.spend(1 + each / 8));
    const auto end = at + each + (i < extra ? 1 : 0);
    std::vector<Value> part(at, end);
    if (i >= extra && bound[1] != nullptr && !is_none(*bound[1])) part.push_back(*bound[1]);
    made.emplace_back(work.list(part));
    at = end;
  }
  return absl::OkStatus();
}

constexpr Filter kFilters[] = {
    {"batch", lazily<make_batches>},
    {"count", length_filter},
    {"dictsort", dict_sort_filter},
    {"first", first_filter},
    {"items", lazily<make_pairs>},
    {"join", join_filter},
    {"last", last_filter},
    {"length", length_filter},
    {"list", list_filter},
    {"max", extreme_filter<true>},
    {"min", extreme_filter<false>},
    {"reverse", reverse_filter},
    {"slice", lazily<make_slices>},
    {"sort", sort_filter},
    {"sum", sum_filter},
    {"unique", lazily<make_unique_items>},
};

}  // namespace

std::span<const Filter> sequence_filters() { return kFilters; }

}  // namespace millrace::jinja
