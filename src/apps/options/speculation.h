#pragma once

#include <string>

#include "apps/options/cli.h"
#include "base/status.h"
#include "decode/propose/all.h"

namespace millrace {

// --speculative-config as it was given.
struct SpeculationOptions {
  std::string json;  // empty: nothing is drafted

  // The error says which field is at fault.
  absl::StatusOr<SpeculationConfig> config() const;
};
void bind(CLI::App& command, SpeculationOptions& options);

}  // namespace millrace
