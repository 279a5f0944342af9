#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/options/options.h"
#include "apps/options/serving_options.h"
#include "apps/options/speculation.h"
#include "base/status.h"

namespace millrace {

// `millrace serve`: OpenAI's API over HTTP until a signal comes.
struct ServeOptions {
  ComputeOptions compute;
  VocabularyOptions vocabulary;
  EngineLimits limits;
  SpeculationOptions speculation;
  DoorOptions door;
  ServerLimits clients;
  std::vector<std::string> served_model_name;
  std::string chat_template;  // empty: the model's own
  std::string generation_config = "auto";
  int64_t max_queue = 1024;
  int64_t max_queue_ms = 0;         // 0: no limit
  std::string log_format = "text";  // or json
  std::string log_level = "info";
  bool log_prompts = false;
  int64_t seed = -1;  // negative: the system's randomness
  double shutdown_timeout_s = 30;
};

void bind(CLI::App& command, ServeOptions& options);
absl::Status run_serve(const ServeOptions& options);

}  // namespace millrace
