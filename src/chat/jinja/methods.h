#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "chat/jinja/call.h"
#include "chat/jinja/value.h"

namespace millrace::jinja {

struct Method {
  std::string_view name;
  Function function;
};

// What Python's type of the value has under a name.
struct MethodLookup {
  enum class Kind : uint8_t {
    kNone,         // nothing
    kMethod,       // can be called
    kMutating,     // would change the value: refused, as jinja2's immutable sandbox does
    kUnsupported,  // Python has it, we do not
  };
  Kind kind = Kind::kNone;
  std::string_view name{};
  Function function = nullptr;
};
MethodLookup find_method(const Value& object, std::string_view name);
// real, imag, and numerator and denominator of integers.
std::optional<Value> part_of_number(const Value& number, std::string_view name);

// The tables, one a type.
std::span<const Method> text_methods();
std::span<const Method> dict_methods();
std::span<const Method> list_methods();
std::span<const Method> integer_methods();
std::span<const Method> float_methods();

}  // namespace millrace::jinja
