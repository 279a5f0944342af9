#include "engine/counters.h"

#include <algorithm>
#include <utility>

namespace millrace {

Counters::Counters(const Ledger& ledger, std::span<const std::string> draft_methods,
                   int32_t draft_depth_max) {
  for (const KvGroup& group : ledger.groups()) cache_.emplace_back().group = group;
  for (const std::string& method : draft_methods) {
    OfMethod& counts = methods_.emplace_back();
    counts.name = method;
    for (int32_t i = 0; i < draft_depth_max; ++i) counts.accepted_at.emplace_back(0);
  }
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

void Counters::add_draft(std::span<const DraftNode> nodes, std::span<const int32_t> kept) {
  for (size_t method = 0; method < methods_.size(); ++method) {
    const auto tokens = std::ranges::count(nodes, static_cast<int32_t>(method), &DraftNode::method);
    methods_[method].tokens += tokens;
    if (tokens > 0) ++methods_[method].drafts;
  }
  for (size_t at = 0; at < kept.size(); ++at) {
    const DraftNode& node = nodes[static_cast<size_t>(kept[at])];
    ++methods_[static_cast<size_t>(node.method)].accepted_at[at];
  }
}

void Counters::add_draft_times(std::span<const absl::Duration> of_methods) {
  for (size_t method = 0; method < of_methods.size(); ++method) {
    methods_[method].ns += absl::ToInt64Nanoseconds(of_methods[method]);
  }
}

GeneratorStats Counters::stats() const {
  const int64_t running = running_;
  const int64_t cached = cached_tokens_;
  std::vector<GroupUse> cache;
  for (const OfGroup& counts : cache_) {
    cache.push_back({counts.group, counts.held, counts.idle, counts.evictions});
  }
  std::vector<DraftUse> drafts;
  for (const OfMethod& counts : methods_) {
    drafts.push_back({counts.name,
                      counts.drafts,
                      counts.tokens,
                      absl::Nanoseconds(counts.ns.load()),
                      {counts.accepted_at.begin(), counts.accepted_at.end()}});
  }
  return {.running = running,
          .waiting = std::max<int64_t>(outstanding_ - running, 0),
          .cache = std::move(cache),
          .preemptions = preemptions_,
          .prompt_tokens = computed_tokens_ + cached,
          .cached_tokens = cached,
          .generated_tokens = generated_tokens_,
          .drafts = std::move(drafts),
          .per_sequence = absl::Nanoseconds(per_sequence_ns_.load()),
          .cost_error = cost_error_};
}

}  // namespace millrace
