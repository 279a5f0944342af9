#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "apps/options/options.h"
#include "base/status.h"

namespace millrace {

// `millrace eval`: the perplexity of a text, or the logits of given tokens.
struct EvalOptions {
  ComputeOptions compute;
  VocabularyOptions vocabulary;
  std::string text;       // path
  int64_t context = 512;  // tokens in a chunk
  int64_t chunks = 0;     // 0: all
  bool json = false;
  std::string tokens;  // path of a JSON list of ids, instead of a text
  std::string logits;  // path to write to
};

void bind(CLI::App& command, EvalOptions& options);
absl::Status run_eval(const EvalOptions& options, std::FILE* out);

}  // namespace millrace
