#pragma once

#include "core/generator.h"
#include "server/http/json_text.h"

namespace millrace {

// llama-server's `timings`, the steps that generated tokens, and the time in the queue.
Json timings_json(const RequestUsage& usage, const RequestTimes& times);

}  // namespace millrace
