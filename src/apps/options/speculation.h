#pragma once

#include <string>

#include "apps/options/cli.h"
#include "apps/options/draft_options.h"
#include "base/status.h"
#include "decode/propose/all.h"

namespace millrace {

// --speculative-config as it was given, or what other servers have in its place.
struct SpeculationOptions {
  std::string json;  // empty: nothing is drafted
  DraftOptions draft;

  // The error says which option and field is at fault.
  absl::StatusOr<SpeculationConfig> config() const;
};
void bind(CLI::App& command, SpeculationOptions& options);

}  // namespace millrace
