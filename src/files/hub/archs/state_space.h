#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "files/hub/hub_model.h"

// What configurations of models with state-space units say of these.

namespace millrace {

// Where they say the sizes; empty: nowhere.
struct StateSpaceNames {
  std::string_view kernel, state, inner, expand;
};

// Sets the sizes that Mamba and Mamba-2 have, and those of the model's shape.
absl::Status read_state_space(HubModel& model, const StateSpaceNames& names, int64_t usual_state);
// Of Mamba.
absl::Status read_step_rank(HubModel& model, std::string_view key);
// Of Mamba-2: heads, and groups of them. After read_state_space().
absl::Status read_state_space_heads(HubModel& model, std::string_view heads, std::string_view dim,
                                    std::string_view groups, int64_t usual_groups);
// Where a step lies between limits that are not 0 and infinity.
void set_step_limits(HubModel& model, double smallest, double largest);
absl::Status read_step_limits(HubModel& model);

}  // namespace millrace
