#pragma once

#include <string>

#include "apps/options/options.h"
#include "base/status.h"

namespace millrace {

// `millrace run`: one answer, or a chat.
struct RunOptions {
  ComputeOptions compute;
  VocabularyOptions vocabulary;
  EngineLimits limits = {.max_num_seqs = 1};  // one answer at a time
  std::string prompt;                         // empty: a chat
  bool raw = false;                           // the prompt goes to the model as it is
  std::string system;
  std::string chat_template;  // empty: the model's own
  int64_t max_tokens = -1;    // negative: the rest of the context
  float temperature = 0.8F;
  int32_t top_k = 40;
  float top_p = 0.95F;
  float min_p = 0.05F;
  float repeat_penalty = 1.0F;
  int64_t seed = -1;  // negative: a new one for each answer
};

void bind(CLI::App& command, RunOptions& options);
absl::Status run_run(const RunOptions& options);

}  // namespace millrace
