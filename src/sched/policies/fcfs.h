#pragma once

#include "sched/policy.h"

namespace millrace {

// First come, first served: who arrived earlier keeps going.
class Fcfs final : public Policy {
 public:
  Rank rank(const Sequence& sequence, Instant now) const override;
};

}  // namespace millrace
