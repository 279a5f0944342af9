#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace millrace {

// A checksum against accidents, at the speed of memory: any change within 8 neighbouring bytes, at
// a multiple of 8, changes it, others but for one in 2^64. Whoever wants to can forge it.
uint64_t checksum(std::span<const std::byte> bytes);

}  // namespace millrace
