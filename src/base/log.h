#pragma once

#include <string>
#include <string_view>

#include <spdlog/spdlog.h>

namespace millrace {

// Sends spdlog's default logger to standard error at `level` (trace, debug, info, warn, error,
// off).
void set_up_log(spdlog::level::level_enum level);

// Text from outside, fit for one log line: control characters and bytes that are not ASCII print
// become \xNN.
std::string escape_for_log(std::string_view text);

}  // namespace millrace
