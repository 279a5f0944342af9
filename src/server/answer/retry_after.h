#pragma once

#include <cstdint>

#include "core/generator.h"

namespace millrace {

// Retry-After of a request that the queue refuses: the time in which the engine, as fast as it was
// lately, serves the waiting sequences, in whole seconds rounded up, and from 1 to 60.
int64_t retry_after_seconds(const GeneratorStats& stats);

}  // namespace millrace
