#pragma once

#include <string>

#include "apps/options/cli.h"
#include "base/status.h"

namespace millrace {

// `millrace convert`: a GGUF file of a Hugging Face folder.
struct ConvertOptions {
  std::string model;
  std::string out;
  std::string type = "auto";  // of the matrices; auto: each its own
  int threads = 0;            // 0: the CPUs this process may use
};

void bind(CLI::App& command, ConvertOptions& options);
absl::Status run_convert(const ConvertOptions& options);

}  // namespace millrace
