#include "sched/planner.h"

#include <algorithm>

#include "base/check.h"

namespace millrace {

Planner::Planner(std::unique_ptr<Policy> policy, Limits limits)
    : policy_(std::move(policy)), limits_(limits) {
  CHECK(limits_.rows_max > 0 && limits_.sequences_max > 0, "a step must be able to do something");
}

void Planner::plan(std::span<Sequence* const> live, Ledger& ledger, absl::Time now,
                   Flight& flight) {
  flight.clear();
  rank(live, now);
  Plan& plan = flight.plan;
  int64_t budget = limits_.rows_max;
  for (size_t place = 0; place < ranked_.size() && budget > 0; ++place) {
    if (std::ssize(plan.slices) == limits_.sequences_max) break;
    Sequence& sequence = *ranked_[place].sequence;
    const bool holdable = ledger.can_ever_hold(sequence.known());
    const int64_t rows = holdable ? grant(place, budget, ledger, plan) : 0;
    if (rows == 0 && holdable && !plan.slices.empty()) {
      plan.short_of_memory = true;
      break;
    }
    if (rows == 0) {
      ledger.release(sequence.id);
      plan.out_of_memory.push_back(&sequence);
      continue;
    }
    budget -= rows;
    plan.slices.push_back({&sequence, static_cast<int32_t>(rows)});
    policy_->granted(sequence, static_cast<int32_t>(rows));
  }
}

void Planner::rank(std::span<Sequence* const> live, absl::Time now) {
  ranked_.clear();
  for (Sequence* sequence : live) {
    if (!sequence->awaits_fork()) ranked_.push_back({policy_->rank(*sequence, now), sequence});
  }
  std::ranges::sort(ranked_, [](const Ranked& a, const Ranked& b) {
    return a.rank != b.rank ? a.rank < b.rank : a.sequence->id < b.sequence->id;
  });
  holders_end_ = ranked_.size();
}

// A newcomer leaves a free block to each sequence before it, so that it is not thrown out again at
// their next block.
int64_t Planner::grant(size_t place, int64_t budget, Ledger& ledger, Plan& plan) {
  Sequence& sequence = *ranked_[place].sequence;
  while (true) {
    const int64_t rows = ledger.place(sequence, budget, std::ssize(plan.slices));
    if (rows == std::min(budget, sequence.pending())) return rows;
    if (!preempt_below(place, ledger, plan)) return rows;
  }
}

bool Planner::preempt_below(size_t place, Ledger& ledger, Plan& plan) {
  while (holders_end_ > place + 1) {
    Sequence& lowest = *ranked_[--holders_end_].sequence;
    if (!ledger.holds(lowest.id)) continue;
    ledger.preempt(lowest);
    ++plan.preempted;
    return true;
  }
  return false;
}

}  // namespace millrace
