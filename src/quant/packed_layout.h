#pragma once

#include <cstdint>

namespace millrace {

// A checksum of how matrices of every format are packed, found by packing some: it changes with the
// layout, so that packed bytes that were kept elsewhere are known to be of another one.
uint64_t packed_layout();

}  // namespace millrace
