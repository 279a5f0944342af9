#pragma once

#include <string_view>

#include <fmt/format.h>

// CHECK(condition, "message {}", args...): a programmer's error. On in every build; aborts with
// file, line and message.

namespace millrace {

[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               std::string_view message);

template <typename... Args>
[[noreturn]] void check_failed_with(const char* file, int line, const char* condition,
                                    fmt::format_string<Args...> format, Args&&... args) {
  check_failed(file, line, condition, fmt::format(format, std::forward<Args>(args)...));
}
[[noreturn]] inline void check_failed_with(const char* file, int line, const char* condition) {
  check_failed(file, line, condition, {});
}

}  // namespace millrace

#define CHECK(condition, ...)                                                                   \
  do {                                                                                          \
    if (!(condition)) [[unlikely]]                                                              \
      ::millrace::check_failed_with(__FILE__, __LINE__, #condition __VA_OPT__(, ) __VA_ARGS__); \
  } while (false)
