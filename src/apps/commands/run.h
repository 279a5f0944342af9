#pragma once

#include <optional>
#include <string>

#include "apps/options/options.h"
#include "apps/options/speculation.h"
#include "base/status.h"

namespace millrace {

// How `run` draws where neither an option nor the model says otherwise.
struct UsualSampling {
  float temperature = 0.8F;
  int32_t top_k = 40;
  float top_p = 0.95F;
  float min_p = 0.05F;
  float repetition = 1.0F;
};
inline constexpr UsualSampling kUsualSampling;

// `millrace run`: one answer, or a chat.
struct RunOptions {
  ComputeOptions compute;
  VocabularyOptions vocabulary;
  EngineLimits limits = {.max_num_seqs = 1};  // one answer at a time
  SpeculationOptions speculation;
  std::string prompt;  // empty: a chat
  bool raw = false;    // the prompt goes to the model as it is
  std::string system;
  std::string chat_template;  // empty: the model's own
  int64_t max_tokens = -1;    // negative: the rest of the context
  // Absent: what the model's generation_config.json says, or else the usual.
  std::optional<float> temperature, top_p, min_p, repeat_penalty;
  std::optional<int32_t> top_k;
  std::string generation_config = "auto";
  int64_t seed = -1;  // negative: a new one for each answer
};

void bind(CLI::App& command, RunOptions& options);
absl::Status run_run(const RunOptions& options);

}  // namespace millrace
