#pragma once

#include <string>
#include <string_view>

#include <spdlog/spdlog.h>

namespace millrace {

enum class LogFormat {
  kText,
  kJson,  // each line is an object that begins with `time` and `level`
};

// Sends spdlog's default logger to standard error at `level` (trace, debug, info, warn, error,
// off). It never waits for the reader: lines that find no room are dropped, and counted in the
// next.
void set_up_log(spdlog::level::level_enum level, LogFormat format = LogFormat::kText);

LogFormat log_format();
// One line that its caller has made fit for the format: escaped text, or an object's members.
void log_line(spdlog::level::level_enum level, std::string_view line);

// Text from outside, fit for one log line: control characters and bytes that are not ASCII print
// become \xNN.
std::string escape_for_log(std::string_view text);

}  // namespace millrace
