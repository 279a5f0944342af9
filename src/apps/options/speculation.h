#pragma once

#include <string>

#include "apps/options/options.h"
#include "base/status.h"
#include "decode/propose/all.h"

namespace millrace {

// --speculative-config as it was given.
struct SpeculationOptions {
  std::string json;  // empty: nothing is drafted

  // For an engine of these limits. The error says which field is at fault.
  absl::StatusOr<SpeculationConfig> config(const EngineLimits& limits) const;
};
void bind(CLI::App& command, SpeculationOptions& options);

}  // namespace millrace
