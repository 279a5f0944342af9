#pragma once

#include "core/generator.h"
#include "server/json_text.h"

namespace millrace {

// The times of several prompts' work as those of one: from the first beginning to the last end.
RequestTimes joined(const RequestTimes& a, const RequestTimes& b);

// llama-server's `timings`, and the time in the queue.
Json timings_json(const RequestUsage& usage, const RequestTimes& times);

}  // namespace millrace
