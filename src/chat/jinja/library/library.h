#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/status.h"
#include "chat/jinja/values/value.h"
#include "chat/jinja/values/workspace.h"

namespace millrace::jinja {

struct Scope;
struct Macro;
struct Routine;

struct NamedValue {
  std::string_view name;
  Value value;
};

// What a filter, test, method or function is called with.
struct Arguments {
  std::span<const Value> positional;
  std::span<const NamedValue> named;
};

// `subject`: what is filtered or tested, or whose method it is; None for functions.
using Function = absl::StatusOr<Value> (*)(Workspace& work, const Routine& routine,
                                           const Value& subject, const Arguments& arguments);

// A filter, test, method or function: one row of a table. A test gives a bool.
struct Routine {
  std::string_view name;
  Function function;
  // A name that begins with '/' is that of a positional-only parameter.
  std::array<std::string_view, 4> parameters{};
};

// Something that a template can call.
struct Callable {
  std::string_view name;
  const Routine* routine = nullptr;  // null: a macro
  Value self = None{};               // of a method
  const Macro* macro = nullptr;
  Scope* scope = nullptr;  // where the macro was defined; null: at the top
};

// Null: there is none.
const Routine* find_filter(std::string_view name);
const Routine* find_test(std::string_view name);
const Routine* find_function(std::string_view name);
// UNIMPLEMENTED where jinja2 has a filter or test of that name.
absl::Status no_filter(std::string_view name);
absl::Status no_test(std::string_view name);

// What Python's type of the value has under a name.
struct MethodLookup {
  enum class Kind : uint8_t {
    kNone,         // nothing
    kMethod,       // can be called
    kMutating,     // would change the value: refused, as jinja2's immutable sandbox does
    kUnsupported,  // Python has it, we do not
  };
  Kind kind = Kind::kNone;
  const Routine* routine = nullptr;
};
MethodLookup find_method(const Value& object, std::string_view name);

// The tables of filters.
std::span<const Routine> value_filters();
std::span<const Routine> sequence_filters();
const Routine* find_in(std::span<const Routine> table, std::string_view name);

absl::Status set_attribute(Workspace& work, Namespace& space, const Text& name, const Value& value);

// pattern % arguments, in simple forms: a tuple holds several arguments.
absl::StatusOr<Value> format_percent(Workspace& work, const Text& pattern, const Value& arguments);
// pattern.format(...), in simple forms.
absl::StatusOr<Value> format_braces(Workspace& work, const Text& pattern,
                                    const Arguments& arguments);

// Sorts the arguments by the parameters they are for; null: not given. Fails on what no parameter
// takes.
absl::Status bind_arguments(const Routine& routine, const Arguments& arguments,
                            std::span<const Value*> bound);

// Types that parameters have besides Value, Text, int64_t, bool and `const Dict*`. An optional is
// empty where nothing or None is given, a `const Value*` null where nothing is.
struct Printed {  // any value, as it prints
  Text text;
};
struct Items {  // of anything that can be walked
  std::span<const Value> items;
};

// What an error calls an argument; an empty parameter: the subject.
struct ArgumentName {
  std::string_view routine;
  std::string_view parameter;
};

// Converts what was given (null: nothing) to the parameter's type.
absl::Status read_argument(Workspace&, const ArgumentName&, const Value* given, Value& value);
absl::Status read_argument(Workspace&, const ArgumentName&, const Value* given, None& value);
absl::Status read_argument(Workspace&, const ArgumentName&, const Value* given,
                           const Value*& value);
absl::Status read_argument(Workspace&, const ArgumentName&, const Value* given, bool& value);
absl::Status read_argument(Workspace&, const ArgumentName&, const Value* given, int64_t& value);
absl::Status read_argument(Workspace&, const ArgumentName&, const Value* given, Text& value);
absl::Status read_argument(Workspace&, const ArgumentName&, const Value* given, Printed& value);
absl::Status read_argument(Workspace&, const ArgumentName&, const Value* given, Items& value);
absl::Status read_argument(Workspace&, const ArgumentName&, const Value* given, const Dict*& value);
template <typename T>
absl::Status read_argument(Workspace& work, const ArgumentName& name, const Value* given,
                           std::optional<T>& value) {
  if (given == nullptr || is_none(*given)) return absl::OkStatus();
  return read_argument(work, name, given, value.emplace());
}

template <auto kFunction>
struct Typed;

// Makes a Function of one with typed parameters: (Workspace&, Subject, Parameters...).
template <typename Result, typename Subject, typename... Parameters,
          absl::StatusOr<Result> (*kFunction)(Workspace&, Subject, Parameters...)>
struct Typed<kFunction> {
  static absl::StatusOr<Value> call(Workspace& work, const Routine& routine, const Value& subject,
                                    const Arguments& arguments) {
    std::array<const Value*, sizeof...(Parameters)> bound{};
    RETURN_IF_ERROR(bind_arguments(routine, arguments, bound));
    return call(work, routine, subject, bound, std::index_sequence_for<Parameters...>());
  }

 private:
  template <size_t... kIndex>
  static absl::StatusOr<Value> call(Workspace& work, const Routine& routine, const Value& subject,
                                    [[maybe_unused]] std::span<const Value* const> bound,
                                    std::index_sequence<kIndex...>) {
    Subject self{};
    std::tuple<Parameters...> values{};
    absl::Status status = read_argument(work, {routine.name, {}}, &subject, self);
    ((status.ok() ? void(status = read_argument(work, {routine.name, routine.parameters[kIndex]},
                                                bound[kIndex], std::get<kIndex>(values)))
                  : void()),
     ...);
    RETURN_IF_ERROR(status);
    ASSIGN_OR_RETURN(const Result result, kFunction(work, self, std::get<kIndex>(values)...));
    return Value(result);
  }
};
template <auto kFunction>
inline constexpr Function kTyped = Typed<kFunction>::call;

}  // namespace millrace::jinja
