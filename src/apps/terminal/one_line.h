#pragma once

#include <string>
#include <string_view>

namespace millrace {

// Text from outside on one line that no terminal obeys: control and formatting characters become
// \n, \t, \r or \u{...}, bytes that are not UTF-8 \xNN, and a backslash \\.
std::string one_line(std::string_view text);

}  // namespace millrace
