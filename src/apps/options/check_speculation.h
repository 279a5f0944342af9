#pragma once

#include <cstdint>

#include "base/json/json_node.h"
#include "base/status.h"
#include "decode/propose/all.h"

namespace millrace {

// Refuses keys that no chosen method reads, and sizes of drafts that contradict each other or are
// more than a step of `step_rows` tokens has room for; those that were not given are made to fit.
// Pre: `config` is what `json` says.
absl::Status check_speculation(const JsonNode& json, int64_t step_rows, SpeculationConfig& config);

}  // namespace millrace
