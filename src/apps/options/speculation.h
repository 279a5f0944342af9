#pragma once

#include <string>

#include "apps/options/draft_options.h"
#include "apps/options/options.h"
#include "base/status.h"
#include "decode/propose/all.h"

namespace millrace {

// --speculative-config as it was given, or what other servers have in its place.
struct SpeculationOptions {
  std::string json;  // empty: nothing is drafted
  DraftOptions draft;

  // For an engine of these limits. The error says which option and field is at fault.
  absl::StatusOr<SpeculationConfig> config(const EngineLimits& limits) const;
};
void bind(CLI::App& command, SpeculationOptions& options);

}  // namespace millrace
