#include "engine/answers.h"

#include <utility>

namespace millrace {

Answer& Answers::open(const Arrival& arrival) {
  auto opened = std::make_unique<Answer>();
  Answer& answer = *opened;
  answers_.emplace(arrival.id, std::move(opened));
  answer.id = arrival.id;
  answer.first = arrival.first;
  answer.request = arrival.request;
  answer.sink = arrival.sink;
  answer.unfinished = arrival.request->choices;
  answer.usage.prompt_tokens = static_cast<int64_t>(arrival.request->prompt.size());
  const absl::Time never = absl::InfinitePast();
  answer.times = {
      .arrived = arrival.arrived, .started = never, .first_token = never, .finished = never};
  answer.sequences.resize(static_cast<size_t>(arrival.request->choices));
  int32_t choice = 0;
  for (Sequence& sequence : answer.sequences) {
    sequence.id = {sequences_ever_++};
    sequence.request_id = arrival.id;
    sequence.choice = choice++;
    sequence.request = arrival.request;
    sequence.choices = answer.sequences;
    live_.push_back(&sequence);
  }
  answer.sequences[0].tokens = arrival.request->prompt;
  return answer;
}

std::unique_ptr<Answer> Answers::take(RequestId id) {
  const auto found = answers_.find(id);
  if (found == answers_.end()) return nullptr;
  std::unique_ptr<Answer> answer = std::move(found->second);
  answers_.erase(found);
  return answer;
}

bool Answers::finish(Sequence& sequence) { return std::erase(live_, &sequence) > 0; }

std::vector<RequestId> Answers::all() const {
  std::vector<RequestId> ids;
  for (const auto& [id, answer] : answers_) ids.push_back(id);
  return ids;
}

// They begin in order, so by the first of them: it runs, or is through.
bool Answers::began_any(const Answer& answer) const {
  const auto first = answers_.find(answer.first);
  return first == answers_.end() || first->second->started();
}

void Answers::find_late(absl::Time now, absl::Duration waiting_age_max,
                        std::vector<const Answer*>& late) const {
  late.clear();
  for (const auto& [id, answer] : answers_) {
    const bool waited_out = !began_any(*answer) && now - answer->times.arrived > waiting_age_max;
    if (waited_out || now > answer->request->deadline) late.push_back(answer.get());
  }
}

}  // namespace millrace
