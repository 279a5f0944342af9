#pragma once

#include "sched/policy.h"

namespace millrace {

// First come, first served.
class Fcfs final : public Policy {
 public:
  Rank rank(const Sequence& sequence, Instant now) const override;
};

}  // namespace millrace
