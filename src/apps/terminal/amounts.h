#pragma once

#include <cstdint>
#include <string>

namespace millrace {

std::string grouped(int64_t value);     // "98,362,432"
std::string bytes_text(int64_t bytes);  // "93.8 MiB"

}  // namespace millrace
