#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <fmt/format.h>

// Operating errors are absl::Status values; a programmer's error aborts (base/check.h).
// Messages are one line, name the thing at fault, and need no prefix from the caller to be
// understood.

namespace millrace {

// Debian builds Abseil with its own string_view; these two functions are the only bridge.
inline absl::string_view to_absl(std::string_view s) { return {s.data(), s.size()}; }
inline std::string_view message_of(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

template <typename... Args>
absl::Status make_error(absl::StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  return {code, to_absl(fmt::format(format, std::forward<Args>(args)...))};
}

// What a caller gave is wrong: a file, a request, an option.
template <typename... Args>
absl::Status invalid_argument(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(absl::StatusCode::kInvalidArgument, format, std::forward<Args>(args)...);
}

// A number lies beyond what the thing can hold (a context, a vocabulary, a file).
template <typename... Args>
absl::Status out_of_range(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(absl::StatusCode::kOutOfRange, format, std::forward<Args>(args)...);
}

// Well formed, known to the field, not done by Millrace (yet).
template <typename... Args>
absl::Status unimplemented(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(absl::StatusCode::kUnimplemented, format, std::forward<Args>(args)...);
}

template <typename... Args>
absl::Status not_found(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(absl::StatusCode::kNotFound, format, std::forward<Args>(args)...);
}

// Memory, queue places or another bounded thing ran out; trying later may work.
template <typename... Args>
absl::Status resource_exhausted(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(absl::StatusCode::kResourceExhausted, format, std::forward<Args>(args)...);
}

template <typename... Args>
absl::Status unavailable(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(absl::StatusCode::kUnavailable, format, std::forward<Args>(args)...);
}

template <typename... Args>
absl::Status internal_error(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(absl::StatusCode::kInternal, format, std::forward<Args>(args)...);
}

}  // namespace millrace

#define MILLRACE_CONCAT_INNER(a, b) a##b
#define MILLRACE_CONCAT(a, b) MILLRACE_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expression)                                         \
  do {                                                                      \
    if (absl::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)

// ASSIGN_OR_RETURN(auto x, f()); ASSIGN_OR_RETURN(x, f());
#define ASSIGN_OR_RETURN(target, expression) \
  ASSIGN_OR_RETURN_INNER(MILLRACE_CONCAT(status_or_, __LINE__), target, expression)
#define ASSIGN_OR_RETURN_INNER(result, target, expression) \
  auto result = (expression);                              \
  if (!result.ok()) return std::move(result).status();     \
  target = *std::move(result)
