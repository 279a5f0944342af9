#include "engine/counters.h"

#include <algorithm>

namespace millrace {

bool Counters::enter(int64_t sequences, int64_t waiting_max) {
  int64_t outstanding = outstanding_;
  while (outstanding < runnable_ + waiting_max) {
    if (outstanding_.compare_exchange_weak(outstanding, outstanding + sequences)) return true;
  }
  return false;
}

void Counters::set_blocks(int64_t used, int64_t total) {
  blocks_used_ = used;
  blocks_total_ = total;
}

void Counters::add_prompt(int64_t tokens, int64_t cached) {
  computed_tokens_ += tokens - cached;
  cached_tokens_ += cached;
}

GeneratorStats Counters::stats() const {
  const int64_t running = running_;
  const int64_t cached = cached_tokens_;
  return {.running = running,
          .waiting = std::max<int64_t>(outstanding_ - running, 0),
          .blocks_used = blocks_used_,
          .blocks_total = blocks_total_,
          .preemptions = preemptions_,
          .prompt_tokens = computed_tokens_ + cached,
          .cached_tokens = cached,
          .generated_tokens = generated_tokens_,
          .per_sequence = absl::Nanoseconds(per_sequence_ns_.load())};
}

}  // namespace millrace
