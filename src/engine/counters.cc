#include "engine/counters.h"

#include <algorithm>
#include <utility>

namespace millrace {

Counters::Counters(const Ledger& ledger) {
  for (const KvGroup& group : ledger.groups()) cache_.emplace_back().group = group;
}

bool Counters::enter(int64_t sequences, int64_t waiting_max) {
  int64_t outstanding = outstanding_;
  while (outstanding < runnable_ + waiting_max) {
    if (outstanding_.compare_exchange_weak(outstanding, outstanding + sequences)) return true;
  }
  return false;
}

void Counters::set_cache(const Ledger& ledger) {
  int32_t g = 0;
  for (OfGroup& counts : cache_) {
    counts.held = ledger.held(g);
    counts.idle = ledger.idle(g);
    counts.evictions = ledger.evictions(g++);
  }
}

void Counters::add_prompt(int64_t tokens, int64_t cached) {
  computed_tokens_ += tokens - cached;
  cached_tokens_ += cached;
}

GeneratorStats Counters::stats() const {
  const int64_t running = running_;
  const int64_t cached = cached_tokens_;
  std::vector<GroupUse> cache;
  for (const OfGroup& counts : cache_) {
    cache.push_back({counts.group, counts.held, counts.idle, counts.evictions});
  }
  return {.running = running,
          .waiting = std::max<int64_t>(outstanding_ - running, 0),
          .cache = std::move(cache),
          .preemptions = preemptions_,
          .prompt_tokens = computed_tokens_ + cached,
          .cached_tokens = cached,
          .generated_tokens = generated_tokens_,
          .per_sequence = absl::Nanoseconds(per_sequence_ns_.load())};
}

}  // namespace millrace
