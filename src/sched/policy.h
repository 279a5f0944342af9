#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "core/sequence.h"

namespace millrace {

// The lower goes first; equals go by arrival. Within a level prompts share steps, and no sequence
// is preempted for one that has not begun.
struct Rank {
  int32_t level = 0;
  int64_t key = 0;
  friend constexpr auto operator<=>(const Rank&, const Rank&) = default;
};

// Says which sequence goes first and nothing else: it never allocates, and the planner never knows
// why.
class Policy {
 public:
  virtual ~Policy() = default;
  virtual Rank rank(const Sequence& sequence, Instant now) const = 0;
};

std::vector<std::string_view> policy_names();
// INVALID_ARGUMENT, listing the known ones, for any other name.
absl::StatusOr<std::unique_ptr<Policy>> make_policy(std::string_view name);

}  // namespace millrace
