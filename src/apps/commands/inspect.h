#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "apps/options/options.h"
#include "base/status.h"

namespace millrace {

// `millrace inspect`: what a model file holds and what running it takes.
struct InspectOptions {
  std::string model;
  VocabularyOptions vocabulary;
  int64_t max_model_len = 0;
  int64_t max_num_seqs = 1;
  std::string kv_cache_dtype = "f16";
  std::string chat_template;  // empty: the model's own
  bool json = false;
};

void bind(CLI::App& command, InspectOptions& options);
absl::Status run_inspect(const InspectOptions& options, std::FILE* out);

}  // namespace millrace
