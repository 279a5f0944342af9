#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string_view>

#include "base/status.h"
#include "chat/jinja/value.h"
#include "chat/jinja/workspace.h"

namespace millrace::jinja {

struct Scope;
struct Macro;

struct NamedValue {
  std::string_view name;
  Value value;
  const Marks* marks = nullptr;  // of the name, which ** takes from a dict

  Text text() const;
};

// What a filter, test, method or function is called with.
struct Arguments {
  std::span<const Value> positional;
  std::span<const NamedValue> named;
};

// A parameter with this name takes no named argument, as most of Python's methods have it.
inline constexpr std::string_view kNameless = "";

// Sorts the arguments by the parameters they are for; null: not given. Fails on what no parameter
// takes.
absl::Status bind_arguments(std::string_view function, const Arguments& arguments,
                            std::span<const std::string_view> parameters,
                            std::span<const Value*> bound);

template <size_t N>
absl::StatusOr<std::array<const Value*, N>> bind_arguments(
    std::string_view function, const Arguments& arguments,
    const std::string_view (&parameters)[N]) {
  std::array<const Value*, N> bound{};
  RETURN_IF_ERROR(bind_arguments(function, arguments, parameters, bound));
  return bound;
}
absl::Status expect_no_arguments(std::string_view function, const Arguments& arguments);

// Arguments of the kind that a function wants; null gives the fallback.
absl::StatusOr<int64_t> integer_argument(const Value* value, int64_t fallback,
                                         std::string_view what);
absl::StatusOr<Text> text_argument(const Value* value, Text fallback, std::string_view what);
bool flag_argument(const Value* value, bool fallback);

using Function = absl::StatusOr<Value> (*)(Workspace& work, const Value& subject,
                                           const Arguments& arguments);

// Something that a template can call.
struct Callable {
  std::string_view name;
  Function function = nullptr;  // null: a macro
  Value self{};                 // of a method
  const Macro* macro = nullptr;
  Scope* scope = nullptr;  // where the macro was defined; null: at the top
};

}  // namespace millrace::jinja
