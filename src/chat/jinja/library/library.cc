#include "chat/jinja/library/library.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <string>
#include <vector>

#include "base/string_map.h"
#include "chat/jinja/values/operators.h"

namespace millrace::jinja {

namespace {

std::string_view plain(std::string_view parameter) {
  return parameter.starts_with('/') ? parameter.substr(1) : parameter;
}

absl::Status missing(const ArgumentName& name) {
  return invalid_argument("{} needs '{}'", name.routine, plain(name.parameter));
}

absl::Status wrong_type(const ArgumentName& name, std::string_view wanted, const Value& given) {
  if (is_undefined(given)) return undefined_error(given);
  if (name.parameter.empty()) {
    return invalid_argument("{} needs {}, got {}", name.routine, wanted, type_name(given));
  }
  return invalid_argument("'{}' of {} must be {}, got {}", plain(name.parameter), name.routine,
                          wanted, type_name(given));
}

// A value that is one of those that Value holds.
template <typename T>
absl::Status read_held(const ArgumentName& name, const Value* given, std::string_view wanted,
                       T& value) {
  if (given == nullptr) return missing(name);
  const T* held = std::get_if<T>(given);
  if (held == nullptr) return wrong_type(name, wanted, *given);
  value = *held;
  return absl::OkStatus();
}

}  // namespace

absl::Status read_argument(Workspace&, const ArgumentName& name, const Value* given, Value& value) {
  if (given == nullptr) return missing(name);
  value = *given;
  return absl::OkStatus();
}

absl::Status read_argument(Workspace&, const ArgumentName&, const Value*, None&) {
  return absl::OkStatus();
}

absl::Status read_argument(Workspace&, const ArgumentName&, const Value* given,
                           const Value*& value) {
  value = given;
  return absl::OkStatus();
}

absl::Status read_argument(Workspace&, const ArgumentName&, const Value* given, bool& value) {
  value = given != nullptr && is_true(*given);
  return absl::OkStatus();
}

absl::Status read_argument(Workspace&, const ArgumentName& name, const Value* given,
                           int64_t& value) {
  if (given == nullptr) return missing(name);
  if (!is_integer(*given)) return wrong_type(name, "an integer", *given);
  value = integer_of(*given);
  return absl::OkStatus();
}

absl::Status read_argument(Workspace&, const ArgumentName& name, const Value* given, Text& value) {
  return read_held(name, given, "a string", value);
}

absl::Status read_argument(Workspace&, const ArgumentName& name, const Value* given,
                           const Dict*& value) {
  return read_held(name, given, "a dict", value);
}

absl::Status read_argument(Workspace& work, const ArgumentName& name, const Value* given,
                           Printed& value) {
  if (given == nullptr) return missing(name);
  ASSIGN_OR_RETURN(value.text, to_text(work, *given));
  return absl::OkStatus();
}

absl::Status read_argument(Workspace& work, const ArgumentName& name, const Value* given,
                           Items& value) {
  if (given == nullptr) return missing(name);
  ASSIGN_OR_RETURN(value.items, items_of(work, *given));
  return absl::OkStatus();
}

absl::Status bind_arguments(const Routine& routine, const Arguments& arguments,
                            std::span<const Value*> bound) {
  if (arguments.positional.size() > bound.size()) {
    return invalid_argument("{} takes at most {} arguments, got {}", routine.name, bound.size(),
                            arguments.positional.size());
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) bound[i] = &arguments.positional[i];
  const std::span<const std::string_view> parameters(routine.parameters.data(), bound.size());
  for (const NamedValue& named : arguments.named) {
    const auto at = std::find(parameters.begin(), parameters.end(), named.name);
    if (at == parameters.end()) {
      return invalid_argument("{} has no parameter '{}'", routine.name, named.name);
    }
    const Value*& place = bound[static_cast<size_t>(at - parameters.begin())];
    if (place != nullptr) {
      return invalid_argument("{} got its parameter '{}' twice", routine.name, named.name);
    }
    place = &named.value;
  }
  return absl::OkStatus();
}

const Routine* find_in(std::span<const Routine> table, std::string_view name) {
  const auto at = std::find_if(table.begin(), table.end(),
                               [&](const Routine& each) { return each.name == name; });
  return at == table.end() ? nullptr : &*at;
}

namespace {

// What jinja2 has and no published template uses.
constexpr std::string_view kForeignFilters[] = {
    "attr",   "batch",     "center",   "filesizeformat", "forceescape", "groupby",
    "pprint", "random",    "slice",    "striptags",      "truncate",    "urlencode",
    "urlize", "wordcount", "wordwrap", "xmlattr"};

}  // namespace

const Routine* find_filter(std::string_view name) {
  static const auto* const kIndex = [] {
    auto* index = new StringViewMap<const Routine*>;
    for (const auto& table : {value_filters(), sequence_filters()}) {
      for (const Routine& filter : table) index->emplace(filter.name, &filter);
    }
    return index;
  }();
  const auto at = kIndex->find(name);
  return at == kIndex->end() ? nullptr : at->second;
}

absl::Status no_filter(std::string_view name) {
  if (std::ranges::find(kForeignFilters, name) != std::end(kForeignFilters)) {
    return unimplemented("the filter '{}' is not supported", name);
  }
  return invalid_argument("no filter named '{}'", name);
}

// Functions.

namespace {

absl::StatusOr<Value> range(Workspace& work, None, int64_t start, std::optional<int64_t> stop,
                            std::optional<int64_t> step) {
  Range result{start, stop.value_or(start), step.value_or(1)};
  if (!stop.has_value()) result.start = 0;
  // Keeps the arithmetic of ranges within 64 bits.
  constexpr int64_t kBoundMax = int64_t{1} << 53;
  for (const int64_t number : {result.start, result.stop, result.step}) {
    if (number > kBoundMax || number < -kBoundMax) {
      return resource_exhausted("{} is beyond what range takes", number);
    }
  }
  if (result.step == 0) return invalid_argument("the step of range cannot be 0");
  if (result.size() > work.limits().range_items_max) {
    return resource_exhausted("range gives {} items, more than {}", result.size(),
                              work.limits().range_items_max);
  }
  return Value(work.arena().make<Range>(result));
}

// What dict() and namespace() are given: at most one dict or list of pairs, and names.
absl::StatusOr<std::vector<Entry>> entries_of(Workspace& work, const Routine& routine,
                                              const Arguments& arguments) {
  std::vector<Entry> entries;
  if (arguments.positional.size() > 1) {
    return invalid_argument("{} takes at most 1 positional argument", routine.name);
  }
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (const auto* dict = std::get_if<const Dict*>(&source)) {
      entries.assign((*dict)->entries.begin(), (*dict)->entries.end());
    } else {
      ASSIGN_OR_RETURN(const std::span<const Value> pairs, items_of(work, source));
      for (const Value& each : pairs) {
        ASSIGN_OR_RETURN(const std::span<const Value> pair, items_of(work, each));
        if (pair.size() != 2) return invalid_argument("{} needs pairs", routine.name);
        RETURN_IF_ERROR(expect_key(work, pair[0]));
        entries.push_back({pair[0], pair[1]});
      }
    }
  }
  for (const NamedValue& named : arguments.named) {
    entries.push_back({Value(make_view(named.name)), named.value});
  }
  RETURN_IF_ERROR(work.spend(std::ssize(entries) / 4));
  return entries;
}

absl::StatusOr<Value> make_dict(Workspace& work, const Routine& routine, const Value&,
                                const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Entry> entries, entries_of(work, routine, arguments));
  return Value(work.dict(entries));
}

absl::StatusOr<Value> make_namespace(Workspace& work, const Routine& routine, const Value&,
                                     const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Entry> entries, entries_of(work, routine, arguments));
  Namespace* space = work.arena().make<Namespace>();
  for (const Entry& entry : entries) {
    RETURN_IF_ERROR(work.spend());
    const Text* name = as_text(entry.key);
    if (name == nullptr) return invalid_argument("a namespace's attributes must be strings");
    RETURN_IF_ERROR(set_attribute(work, *space, *name, entry.value));
  }
  return Value(space);
}

absl::StatusOr<Value> raise_exception(Workspace&, None, Printed message) {
  return invalid_argument("the template refuses: {}", message.text.view());
}

absl::StatusOr<Value> strftime_now(Workspace& work, None, Text format) {
  std::array<char, 1024> buffer{};
  const std::tm now = absl::ToTM(work.now(), absl::UTCTimeZone());
  const std::string pattern(format.view());
  RETURN_IF_ERROR(work.spend(8 + std::ssize(pattern)));
  const size_t size = std::strftime(buffer.data(), buffer.size(), pattern.c_str(), &now);
  if (size == 0 && !pattern.empty()) {
    return invalid_argument("the format of strftime_now gives nothing, or too much");
  }
  Text text = work.copy({buffer.data(), size});
  if (format.is_written()) text.marks = &kAllWritten;
  return Value(text);
}

absl::StatusOr<Value> foreign(Workspace&, const Routine& routine, const Value&, const Arguments&) {
  return unimplemented("'{}' is not supported", routine.name);
}

constexpr Routine kFunctions[] = {
    {"range", kTyped<range>, {"/start", "/stop", "/step"}},
    {"dict", make_dict},
    {"namespace", make_namespace},
    {"raise_exception", kTyped<raise_exception>, {"message"}},
    {"strftime_now", kTyped<strftime_now>, {"format"}},
    {"cycler", foreign},
    {"joiner", foreign},
    {"lipsum", foreign},
    {"self", foreign},
};

}  // namespace

const Routine* find_function(std::string_view name) { return find_in(kFunctions, name); }

absl::Status set_attribute(Workspace& work, Namespace& space, const Text& name,
                           const Value& value) {
  RETURN_IF_ERROR(work.spend(space.size / 8));
  if (Value* known = space.find(name.view())) {
    *known = value;
    return absl::OkStatus();
  }
  auto* added = work.arena().make<Namespace::Attribute>(name, value, nullptr);
  // In order of insertion, as it prints.
  Namespace::Attribute** end = &space.first;
  while (*end != nullptr) end = &(*end)->next;
  *end = added;
  ++space.size;
  return absl::OkStatus();
}

}  // namespace millrace::jinja
