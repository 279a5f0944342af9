#include <algorithm>
#include <vector>

#include "chat/jinja/library/library.h"
#include "chat/jinja/values/operators.h"
#include "chat/jinja/values/text.h"

namespace millrace::jinja {

namespace {

absl::StatusOr<Value> dict_key_or_missing(const Value& object, std::string_view name) {
  if (const auto* dict = std::get_if<const Dict*>(&object)) {
    if (const Value* found = (*dict)->find(name)) return *found;
  }
  return Value(missing_attribute(object, name));
}

absl::StatusOr<Value> character_at(Workspace& work, const Text& text, int64_t index) {
  const std::string_view view = text.view();
  const bool is_from_end = index < 0;
  size_t begin = is_from_end ? view.size() : offset_of(view, index);
  for (; index < 0 && begin > 0; ++index) begin = previous_boundary(view, begin);
  RETURN_IF_ERROR(is_from_end ? work.spend_bytes(view.size() - begin, 8)
                              : work.spend_bytes(begin, 64));
  if (index < 0 || begin == view.size()) return Value(Undefined{});
  return Value(slice(work, text, begin, begin + code_point_at(view, begin).size));
}

absl::StatusOr<Value> element_at(Workspace& work, const Value& object, int64_t index) {
  if (const Text* text = as_text(object)) return character_at(work, *text, index);
  if (const auto* list = std::get_if<const List*>(&object)) {
    const std::span<const Value> items = (*list)->items;
    if (index < 0) index += std::ssize(items);
    if (index >= 0 && index < std::ssize(items)) return items[static_cast<size_t>(index)];
  } else if (const auto* range = std::get_if<const Range*>(&object)) {
    const int64_t size = (*range)->size();
    if (index < 0) index += size;
    if (index >= 0 && index < size) return Value((*range)->at(index));
  }
  return Value(Undefined{});
}

// Python's slice.indices: bounds that a walk by `step` stays within.
struct Bounds {
  int64_t start, stop, step;

  int64_t count() const {
    const Range walk{start, stop, step};
    return walk.size();
  }
};

absl::StatusOr<Bounds> slice_bounds(int64_t size, const Value* start, const Value* stop,
                                    const Value* step) {
  const auto given = [](const Value* value) { return value != nullptr && !is_none(*value); };
  const int64_t by = given(step) ? integer_of(*step) : 1;
  if (by == 0) return invalid_argument("a slice's step cannot be 0");
  const int64_t low = by < 0 ? -1 : 0;
  const int64_t high = by < 0 ? size - 1 : size;
  const auto bound = [&](const Value* value, int64_t fallback) {
    if (!given(value)) return fallback;
    const int64_t at = integer_of(*value);
    if (at < 0) return at < -size ? low : std::clamp(at + size, low, high);
    return std::clamp(at, low, high);
  };
  // A step beyond the size visits one item, as the size itself does.
  return Bounds{bound(start, by < 0 ? high : low), bound(stop, by < 0 ? low : high),
                std::clamp(by, -(size + 1), size + 1)};
}

absl::StatusOr<Value> slice_text(Workspace& work, const Text& text, const Value* start,
                                 const Value* stop, const Value* step) {
  RETURN_IF_ERROR(work.spend_bytes(text.size, 64));
  const std::string_view view = text.view();
  ASSIGN_OR_RETURN(const Bounds bounds, slice_bounds(count_code_points(view), start, stop, step));
  if (bounds.step == 1) {
    const int64_t count = bounds.count();
    const size_t begin = offset_of(view, bounds.start);
    const size_t end = begin + offset_of(view.substr(begin), count);
    return Value(slice(work, text, begin, end));
  }
  RETURN_IF_ERROR(work.spend_bytes(text.size, 4));
  TextBuilder out(work);
  size_t at = offset_of(view, bounds.start);
  for (int64_t left = bounds.count(); left > 0; --left) {
    out.append(slice(work, text, at, at + code_point_at(view, at).size));
    if (left == 1) break;
    for (int64_t i = 0; i < bounds.step; ++i) at += code_point_at(view, at).size;
    for (int64_t i = 0; i > bounds.step; --i) at = previous_boundary(view, at);
  }
  return out.finish();
}

absl::Status no_slice(const Value& object) {
  return invalid_argument("{} cannot be sliced like this", type_name(object));
}

absl::StatusOr<std::span<const Value>> characters_of(Workspace& work, Text text) {
  text.is_markup = false;
  const std::string_view view = text.view();
  RETURN_IF_ERROR(work.expect_items(count_code_points(view)));
  RETURN_IF_ERROR(work.spend_bytes(text.size, 4));
  const std::span<Value> items =
      work.arena().make_array<Value>(static_cast<size_t>(count_code_points(view)));
  size_t at = 0;
  for (Value& item : items) {
    const size_t size = code_point_at(view, at).size;
    item = slice(work, text, at, at + size);
    at += size;
  }
  return items;
}

absl::StatusOr<std::span<const Value>> numbers_of(Workspace& work, const Range& range) {
  RETURN_IF_ERROR(work.expect_items(range.size()));
  const std::span<Value> items = work.arena().make_array<Value>(static_cast<size_t>(range.size()));
  RETURN_IF_ERROR(work.spend(range.size() / 8));
  for (size_t i = 0; i < items.size(); ++i) items[i] = range.at(static_cast<int64_t>(i));
  return items;
}

}  // namespace

absl::StatusOr<Value> get_attribute(Workspace& work, const Value& object, std::string_view name) {
  if (is_undefined(object)) return undefined_error(object);
  if (name.starts_with("__")) {
    return Value(Undefined{name.data(), owner_name(object), static_cast<uint32_t>(name.size()),
                           Undefined::Why::kUnsafe});
  }
  if (const auto* space = std::get_if<Namespace*>(&object)) {
    RETURN_IF_ERROR(work.spend((*space)->size / 16));
    if (const Value* found = (*space)->find(name)) return *found;
    return Value(missing_attribute(object, name));
  }
  const MethodLookup method = find_method(object, name);
  switch (method.kind) {
    case MethodLookup::Kind::kNone:
      return dict_key_or_missing(object, name);
    case MethodLookup::Kind::kMutating:
      return Value(Undefined{name.data(), owner_name(object), static_cast<uint32_t>(name.size()),
                             Undefined::Why::kUnsafe});
    case MethodLookup::Kind::kUnsupported:
      return unimplemented("the attribute '{}' of {} is not supported", name, type_name(object));
    case MethodLookup::Kind::kMethod:
      break;
  }
  return Value(work.arena().make<Callable>(method.routine->name, method.routine, object));
}

absl::StatusOr<Value> get_item(Workspace& work, const Value& object, const Value& key) {
  if (is_undefined(object)) return undefined_error(object);
  if (const auto* dict = std::get_if<const Dict*>(&object)) {
    ASSIGN_OR_RETURN(const bool is_key, can_be_key(work, key));
    if (is_key) {
      if (const Value* found = (*dict)->find(key)) return *found;
    }
  } else if (is_integer(key)) {
    ASSIGN_OR_RETURN(const Value found, element_at(work, object, integer_of(key)));
    if (!is_undefined(found)) return found;
  }
  if (const Text* name = as_text(key)) return get_attribute(work, object, name->view());
  return Value(missing_element(work, object, key));
}

absl::StatusOr<Value> get_slice(Workspace& work, const Value& object, const Value* start,
                                const Value* stop, const Value* step) {
  if (is_undefined(object)) return undefined_error(object);
  for (const Value* bound : {start, stop, step}) {
    if (bound != nullptr && !is_none(*bound) && !is_integer(*bound)) return no_slice(object);
  }
  if (const Text* text = as_text(object)) return slice_text(work, *text, start, stop, step);
  if (std::holds_alternative<const Range*>(object)) {
    return unimplemented("slices of a range are not supported; make a list of it first");
  }
  const auto* list = std::get_if<const List*>(&object);
  if (list == nullptr) return no_slice(object);
  const std::span<const Value> items = (*list)->items;
  ASSIGN_OR_RETURN(const Bounds bounds, slice_bounds(std::ssize(items), start, stop, step));
  const int64_t count = bounds.count();
  if (bounds.step == 1) {
    const auto part = items.subspan(count == 0 ? 0 : static_cast<size_t>(bounds.start),
                                    static_cast<size_t>(count));
    return Value(work.arena().make<List>(part, (*list)->is_tuple));
  }
  RETURN_IF_ERROR(work.spend(count / 8));
  const std::span<Value> kept = work.arena().make_array<Value>(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    kept[static_cast<size_t>(i)] = items[static_cast<size_t>(bounds.start + i * bounds.step)];
  }
  return Value(work.arena().make<List>(kept, (*list)->is_tuple));
}

absl::StatusOr<std::span<const Value>> items_of(Workspace& work, const Value& value) {
  if (const auto* list = std::get_if<const List*>(&value)) return (*list)->items;
  if (const auto* it = std::get_if<Iterator*>(&value)) {
    if ((*it)->is_spent) return std::span<const Value>();
    if (const Iterator::Failure* failure = (*it)->failure) {
      return absl::Status(failure->code, to_absl(failure->message));
    }
    (*it)->is_spent = !(*it)->is_view();
    return (*it)->items;
  }
  if (const auto* dict = std::get_if<const Dict*>(&value)) {
    RETURN_IF_ERROR(work.spend(std::ssize((*dict)->entries) / 8));
    const std::span<Value> keys = work.arena().make_array<Value>((*dict)->entries.size());
    std::transform((*dict)->entries.begin(), (*dict)->entries.end(), keys.begin(),
                   [](const Entry& entry) { return entry.key; });
    return keys;
  }
  if (const Text* text = as_text(value)) return characters_of(work, *text);
  if (const auto* range = std::get_if<const Range*>(&value)) return numbers_of(work, **range);
  if (is_undefined(value)) return std::span<const Value>();
  return invalid_argument("{} is not iterable", type_name(value));
}

absl::StatusOr<Walk> walk_of(Workspace& work, const Value& value) {
  auto* const* it = std::get_if<Iterator*>(&value);
  if (it != nullptr && !(*it)->is_spent && (*it)->failure != nullptr) {
    const Iterator::Failure& failure = *(*it)->failure;
    (*it)->is_spent = true;
    return Walk{(*it)->items, absl::Status(failure.code, to_absl(failure.message))};
  }
  ASSIGN_OR_RETURN(const std::span<const Value> items, items_of(work, value));
  return Walk{items, absl::OkStatus()};
}

absl::StatusOr<std::optional<int64_t>> length_of(Workspace& work, const Value& value) {
  if (const Text* text = as_text(value)) {
    RETURN_IF_ERROR(work.spend_bytes(text->size, 128));
    return count_code_points(text->view());
  }
  if (const auto* list = std::get_if<const List*>(&value)) return std::ssize((*list)->items);
  if (const auto* dict = std::get_if<const Dict*>(&value)) return std::ssize((*dict)->entries);
  if (const auto* range = std::get_if<const Range*>(&value)) return (*range)->size();
  if (const auto* it = std::get_if<Iterator*>(&value); it != nullptr && (*it)->is_view()) {
    return std::ssize((*it)->items);
  }
  if (is_undefined(value)) return 0;
  return std::nullopt;
}

bool is_iterable(const Value& value) {
  return is_undefined(value) || as_text(value) != nullptr ||
         std::holds_alternative<const List*>(value) || std::holds_alternative<const Dict*>(value) ||
         std::holds_alternative<const Range*>(value) || std::holds_alternative<Iterator*>(value) ||
         std::holds_alternative<Loop*>(value);
}

}  // namespace millrace::jinja
