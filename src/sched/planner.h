#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <absl/time/time.h>

#include "core/flight.h"
#include "kv/ledger.h"
#include "sched/limits.h"
#include "sched/policy.h"

namespace millrace {

// Hands out a step's positions: by rank, each sequence as many as it has pending and the budget
// allows, and memory from the lowest ranked where there is none. Nobody overtakes a sequence that
// waits for memory, so none starves; and whenever somebody could compute, somebody does.
class Planner {
 public:
  Planner(std::unique_ptr<Policy> policy, Limits limits);

  void plan(std::span<Sequence* const> live, Ledger& ledger, absl::Time now, Flight& flight);

  Policy& policy() { return *policy_; }
  const Limits& limits() const { return limits_; }

 private:
  struct Ranked {
    Rank rank;
    Sequence* sequence;
  };

  void rank(std::span<Sequence* const> live, absl::Time now);
  int64_t grant(size_t place, int64_t budget, Ledger& ledger, Plan& plan);
  bool preempt_below(size_t place, Ledger& ledger, Plan& plan);

  std::unique_ptr<Policy> policy_;
  Limits limits_;
  std::vector<Ranked> ranked_;  // first to last
  size_t holders_end_ = 0;      // no sequence ranked here or below holds blocks
};

}  // namespace millrace
