#include "server/answer/timings.h"

#include <algorithm>
#include <string>

namespace millrace {
namespace {

// `count` tokens took `time`; rates of nothing are 0.
void add_phase(const std::string& name, int64_t count, absl::Duration time, Json& timings) {
  const double ms = std::max(absl::ToDoubleMilliseconds(time), 0.0);
  const auto tokens = static_cast<double>(count);
  timings[name + "_n"] = count;
  timings[name + "_ms"] = ms;
  timings[name + "_per_token_ms"] = count > 0 ? ms / tokens : 0.0;
  timings[name + "_per_second"] = ms > 0 ? 1000 * tokens / ms : 0.0;
}

}  // namespace

Json timings_json(const RequestUsage& usage, const RequestTimes& times) {
  Json timings;
  timings["cache_n"] = usage.cached_tokens;
  add_phase("prompt", usage.prompt_tokens - usage.cached_tokens, times.first_token - times.started,
            timings);
  add_phase("predicted", usage.generated_tokens, times.finished - times.first_token, timings);
  timings["steps"] = usage.steps;
  timings["draft_n"] = usage.drafted_tokens;
  timings["draft_n_accepted"] = usage.accepted_tokens;
  timings["queue_ms"] = std::max(absl::ToDoubleMilliseconds(times.started - times.arrived), 0.0);
  return timings;
}

}  // namespace millrace
