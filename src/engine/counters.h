#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <span>
#include <string>

#include "core/draft.h"
#include "core/generator.h"
#include "kv/ledger.h"

namespace millrace {

// What other threads may know of the engine. Written by its thread after each step, `outstanding`
// also where requests come in.
class Counters {
 public:
  // draft_methods: those of the model's card. draft_depth_max: tokens of the longest draft.
  Counters(const Ledger& ledger, std::span<const std::string> draft_methods,
           int32_t draft_depth_max);

  // Enters `sequences`, unless as many as allowed are there already: `runnable` of them may run,
  // and `waiting_max` wait.
  bool enter(int64_t sequences, int64_t waiting_max);
  void leave(int64_t sequences) { outstanding_ -= sequences; }
  int64_t outstanding() const { return outstanding_; }

  // How many sequences can run: the limit, or for want of memory those that do.
  void set_runnable(int64_t sequences) { runnable_ = sequences; }
  void set_running(int64_t sequences) { running_ = sequences; }
  void set_cache(const Ledger& ledger);
  void add_preemptions(int64_t n) { preemptions_ += n; }
  // Neither number, nor their difference, ever shrinks in stats().
  void add_prompt(int64_t tokens, int64_t cached);
  // `kept`: the path of nodes that was agreed with.
  void add_draft(std::span<const DraftNode> nodes, std::span<const int32_t> kept);
  void add_draft_times(std::span<const absl::Duration> of_methods);
  void set_cost_error(double share) { cost_error_ = share; }
  void add_generated(int64_t tokens) { generated_tokens_ += tokens; }
  void set_per_sequence(absl::Duration busy) { per_sequence_ns_ = absl::ToInt64Nanoseconds(busy); }

  GeneratorStats stats() const;

 private:
  struct OfGroup {
    KvGroup group;
    std::atomic<int64_t> held = 0, idle = 0, evictions = 0;
  };

  struct OfMethod {
    std::string name;
    std::atomic<int64_t> drafts = 0, tokens = 0, ns = 0;
    std::deque<std::atomic<int64_t>> accepted_at;
  };

  std::atomic<int64_t> outstanding_ = 0;  // sequences submitted and not finished
  std::atomic<int64_t> runnable_ = 0;
  std::atomic<int64_t> running_ = 0;
  std::deque<OfGroup> cache_;
  std::deque<OfMethod> methods_;
  std::atomic<int64_t> preemptions_ = 0;
  std::atomic<int64_t> computed_tokens_ = 0;  // of prompts
  std::atomic<int64_t> cached_tokens_ = 0;    // of prompts
  std::atomic<int64_t> generated_tokens_ = 0;
  std::atomic<int64_t> per_sequence_ns_ = 0;
  std::atomic<double> cost_error_ = 0;
};

}  // namespace millrace
