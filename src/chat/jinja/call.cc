#include "chat/jinja/call.h"

#include <algorithm>

#include "chat/jinja/compare.h"
#include "chat/jinja/print.h"

namespace millrace::jinja {

absl::Status bind_arguments(std::string_view function, const Arguments& arguments,
                            std::span<const std::string_view> parameters,
                            std::span<const Value*> bound) {
  if (arguments.positional.size() > parameters.size()) {
    return invalid_argument("{} takes at most {} arguments, got {}", function, parameters.size(),
                            arguments.positional.size());
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) bound[i] = &arguments.positional[i];
  for (const NamedValue& named : arguments.named) {
    const auto at = std::find(parameters.begin(), parameters.end(), named.name);
    if (at == parameters.end() || named.name == kNameless) {
      return invalid_argument("{} has no parameter '{}'", function, named.name);
    }
    const Value*& place = bound[static_cast<size_t>(at - parameters.begin())];
    if (place != nullptr) {
      return invalid_argument("{} got its parameter '{}' twice", function, named.name);
    }
    place = &named.value;
  }
  return absl::OkStatus();
}

Text NamedValue::text() const {
  Text text = make_view(name);
  text.marks = marks;
  return text;
}

absl::Status expect_no_arguments(std::string_view function, const Arguments& arguments) {
  return bind_arguments(function, arguments, {}, {});
}

absl::StatusOr<int64_t> integer_argument(const Value* value, int64_t fallback,
                                         std::string_view what) {
  if (value == nullptr) return fallback;
  if (is_undefined(*value)) return undefined_error(*value);
  if (fits_int64(*value)) return integer_of(*value);
  if (is_integer(*value)) return invalid_argument("{} must fit into 64 bits", what);
  return invalid_argument("{} must be an integer, got {}", what, type_name(*value));
}

absl::StatusOr<Text> text_argument(const Value* value, Text fallback, std::string_view what) {
  if (value == nullptr) return fallback;
  if (is_undefined(*value)) return undefined_error(*value);
  if (const Text* text = as_text(*value)) return *text;
  return invalid_argument("{} must be a string, got {}", what, type_name(*value));
}

bool flag_argument(const Value* value, bool fallback) {
  return value == nullptr ? fallback : is_true(*value);
}

}  // namespace millrace::jinja
