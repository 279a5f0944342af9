#pragma once

#include <cstdint>
#include <string>

namespace millrace {

// From the system's generator: seeds, ids.
uint64_t random_bits();
std::string random_hex();  // 32 digits

}  // namespace millrace
