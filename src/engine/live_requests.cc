#include "engine/live_requests.h"

#include <utility>

namespace millrace {

LiveRequest& LiveRequests::open(const Arrival& arrival) {
  auto opened = std::make_unique<LiveRequest>();
  LiveRequest& live = *opened;
  requests_.emplace(arrival.id, std::move(opened));
  live.id = arrival.id;
  live.first = arrival.first;
  live.request = arrival.request;
  live.sink = arrival.sink;
  live.unfinished = arrival.request->choices;
  live.usage.prompt_tokens = static_cast<int64_t>(arrival.request->prompt.size());
  live.times.arrived = arrival.arrived;
  live.sequences.resize(static_cast<size_t>(arrival.request->choices));
  int32_t choice = 0;
  for (Sequence& sequence : live.sequences) {
    sequence.id = {sequences_ever_++};
    sequence.request_id = arrival.id;
    sequence.choice = choice++;
    sequence.request = arrival.request;
    sequence.choices = live.sequences;
    live_.push_back(&sequence);
  }
  live.sequences[0].tokens = arrival.request->prompt;
  return live;
}

std::unique_ptr<LiveRequest> LiveRequests::take(RequestId id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return nullptr;
  std::unique_ptr<LiveRequest> live = std::move(found->second);
  requests_.erase(found);
  return live;
}

bool LiveRequests::finish(Sequence& sequence) { return std::erase(live_, &sequence) > 0; }

std::vector<RequestId> LiveRequests::all() const {
  std::vector<RequestId> ids;
  for (const auto& [id, live] : requests_) ids.push_back(id);
  return ids;
}

// They begin in order, so by the first of them: it runs, or is through.
bool LiveRequests::began_any(const LiveRequest& live) const {
  const auto first = requests_.find(live.first);
  return first == requests_.end() || first->second->started();
}

void LiveRequests::find_late(Instant now, absl::Duration waiting_age_max,
                             std::vector<const LiveRequest*>& late) const {
  late.clear();
  for (const auto& [id, live] : requests_) {
    const bool is_late = now - live->times.arrived > waiting_age_max && !began_any(*live);
    if (is_late) late.push_back(live.get());
  }
}

}  // namespace millrace
