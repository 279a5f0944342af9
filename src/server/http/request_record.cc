#include "server/http/request_record.h"

#include <algorithm>

namespace millrace {

void GenerationReport::add(const FinishEvent& finish) {
  usage.cached_tokens += finish.usage.cached_tokens;
  usage.steps += finish.usage.steps;
  usage.drafted_tokens += finish.usage.drafted_tokens;
  usage.accepted_tokens += finish.usage.accepted_tokens;
  times.arrived = std::min(times.arrived, finish.times.arrived);
  times.started = std::min(times.started, finish.times.started);
  times.first_token = std::min(times.first_token, finish.times.first_token);
  times.finished = std::max(times.finished, finish.times.finished);
}

}  // namespace millrace
