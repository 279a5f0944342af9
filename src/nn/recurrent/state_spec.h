#pragma once

#include <cstdint>

#include "base/status.h"
#include "nn/body.h"

namespace millrace {

// The floats that a part of a state takes, so that the next one begins on a cache line.
constexpr int64_t state_part(int64_t floats) { return (floats + 15) / 16 * 16; }

// Of a body that keeps parts of so many floats together.
inline KvSpec state_of(int64_t floats) {
  KvSpec spec;
  spec.sequence_bytes = floats * static_cast<int64_t>(sizeof(float));
  return spec;
}

// UNIMPLEMENTED: a head's or channel's state of more rows than the operations take.
absl::Status check_state_rows(int64_t rows);

}  // namespace millrace
