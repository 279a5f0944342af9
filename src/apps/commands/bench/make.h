#pragma once

#include <cstdio>
#include <string>

#include "apps/options/cli.h"
#include "base/status.h"

namespace millrace {

// `millrace bench make`: a GGUF file of random weights in a published model's shape.
struct MakeOptions {
  std::string shape;
  std::string format = "Q4_0";
  std::string out;
};

void bind(CLI::App& command, MakeOptions& options);
absl::Status run_make(const MakeOptions& options, std::FILE* out);

}  // namespace millrace
