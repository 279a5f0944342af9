#include "chat/jinja/functions.h"

#include <array>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "chat/jinja/access.h"
#include "chat/jinja/compare.h"
#include "chat/jinja/print.h"

namespace millrace::jinja {

namespace {

absl::StatusOr<Value> range(Workspace& work, const Value&, const Arguments& arguments) {
  const std::span<const Value> given = arguments.positional;
  if (given.empty() || given.size() > 3 || !arguments.named.empty()) {
    return invalid_argument("range takes one to three integers");
  }
  std::array<int64_t, 3> numbers{};
  for (size_t i = 0; i < given.size(); ++i) {
    ASSIGN_OR_RETURN(numbers[i], integer_argument(&given[i], 0, "an argument of range"));
    // Keeps the arithmetic of ranges and their slices within 64 bits.
    constexpr int64_t kBoundMax = int64_t{1} << 53;
    if (numbers[i] > kBoundMax || numbers[i] < -kBoundMax) {
      return resource_exhausted("{} is beyond what range takes", numbers[i]);
    }
  }
  Range result{0, numbers[0], 1};
  if (given.size() >= 2) result = {numbers[0], numbers[1], given.size() == 3 ? numbers[2] : 1};
  if (result.step == 0) return invalid_argument("the step of range cannot be 0");
  if (result.size() > work.limits().range_items_max) {
    return resource_exhausted("range gives {} items, more than {}", result.size(),
                              work.limits().range_items_max);
  }
  return Value(work.arena().make<Range>(result));
}

// What dict() and namespace() are given: at most one dict or list of pairs, and names.
absl::StatusOr<std::vector<Entry>> entries_of(Workspace& work, std::string_view function,
                                              const Arguments& arguments) {
  std::vector<Entry> entries;
  if (arguments.positional.size() > 1) {
    return invalid_argument("{} takes at most 1 positional argument", function);
  }
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (const auto* dict = std::get_if<const Dict*>(&source)) {
      entries.assign((*dict)->entries.begin(), (*dict)->entries.end());
    } else {
      ASSIGN_OR_RETURN(const std::span<const Value> pairs, items_of(work, source));
      for (const Value& each : pairs) {
        ASSIGN_OR_RETURN(const std::span<const Value> pair, items_of(work, each));
        if (pair.size() != 2) return invalid_argument("{} needs pairs", function);
        RETURN_IF_ERROR(expect_key(work, pair[0]));
        entries.push_back({pair[0], pair[1]});
      }
    }
  }
  for (const NamedValue& named : arguments.named) {
    entries.push_back({Value(named.text()), named.value});
  }
  RETURN_IF_ERROR(work.spend(std::ssize(entries) / 4));
  return entries;
}

absl::StatusOr<Value> make_dict(Workspace& work, const Value&, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Entry> entries, entries_of(work, "dict", arguments));
  return Value(work.dict(entries));
}

absl::StatusOr<Value> make_namespace(Workspace& work, const Value&, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Entry> entries, entries_of(work, "namespace", arguments));
  Namespace* space = work.arena().make<Namespace>();
  for (const Entry& entry : entries) {
    RETURN_IF_ERROR(work.spend());
    ASSIGN_OR_RETURN(const Text name, text_argument(&entry.key, {}, "a namespace's attribute"));
    RETURN_IF_ERROR(set_attribute(work, *space, name, entry.value));
  }
  return Value(space);
}

absl::StatusOr<Value> raise_exception(Workspace& work, const Value&, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("raise_exception", arguments, {"message"}));
  if (bound[0] == nullptr) return invalid_argument("raise_exception needs a message");
  ASSIGN_OR_RETURN(const Text message, to_text(work, *bound[0]));
  return invalid_argument("the template refuses: {}", message.view());
}

absl::StatusOr<Value> strftime_now(Workspace& work, const Value&, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("strftime_now", arguments, {"format"}));
  if (bound[0] == nullptr) return invalid_argument("strftime_now needs a format");
  ASSIGN_OR_RETURN(const Text format, text_argument(bound[0], {}, "the format of strftime_now"));
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

absl::StatusOr<Value> make_cycler(Workspace& work, const Value&, const Arguments& arguments) {
  if (!arguments.named.empty()) return invalid_argument("cycler takes no named arguments");
  if (arguments.positional.empty()) return invalid_argument("cycler needs something to cycle");
  const std::vector<Value> items(arguments.positional.begin(), arguments.positional.end());
  return Value(work.arena().make<Cycler>(work.keep(items)));
}

absl::StatusOr<Value> join_next(Workspace&, const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(expect_no_arguments("a joiner", arguments));
  Cycler& joiner = *std::get<Cycler*>(self);
  const Value& item = joiner.items[joiner.next];
  joiner.next = joiner.items.size() - 1;
  return item;
}

// Gives nothing at first and the separator from then on.
absl::StatusOr<Value> make_joiner(Workspace& work, const Value&, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, bind_arguments("joiner", arguments, {"sep"}));
  const Value separator = bound[0] == nullptr ? Value(make_view(", ")) : *bound[0];
  Cycler* turns = work.arena().make<Cycler>(work.keep({Value(Text{}), separator}));
  return Value(
      static_cast<const Callable*>(work.arena().make<Callable>("joiner", join_next, Value(turns))));
}

absl::StatusOr<Value> no_lipsum(Workspace&, const Value&, const Arguments&) {
  return unimplemented("lipsum is not supported: its text is random");
}

absl::StatusOr<Value> no_self(Workspace&, const Value&, const Arguments&) {
  return unimplemented("'self' is not supported: a chat template has no blocks");
}

constexpr Value kNothing = None{};
constexpr std::array<Callable, 9> kFunctions = {{
    {"range", range, kNothing},
    {"dict", make_dict, kNothing},
    {"namespace", make_namespace, kNothing},
    {"raise_exception", raise_exception, kNothing},
    {"strftime_now", strftime_now, kNothing},
    {"cycler", make_cycler, kNothing},
    {"joiner", make_joiner, kNothing},
    {"lipsum", no_lipsum, kNothing},
    {"self", no_self, kNothing},
}};

}  // namespace

const Callable* find_function(std::string_view name) {
  for (const Callable& function : kFunctions) {
    if (function.name == name) return &function;
  }
  return nullptr;
}

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
