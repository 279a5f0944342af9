#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

namespace millrace {

// One server-sent event. `data` is one line, as JSON text is.
inline std::string event_text(std::string_view data) { return fmt::format("data: {}\n\n", data); }
// A comment, which clients skip.
inline constexpr std::string_view kPing = ": ping\n\n";

}  // namespace millrace
