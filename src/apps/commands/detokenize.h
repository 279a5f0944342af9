#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "apps/options/options.h"
#include "base/status.h"

namespace millrace {

// `millrace detokenize`: tokens to text; takes back what `millrace tokenize` gives.
struct DetokenizeOptions {
  std::string model;
  VocabularyOptions vocabulary;
  std::vector<int64_t> ids;
  std::string file;  // empty, and no ids: standard input
  bool jsonl = false;
  bool no_special = false;  // special tokens are left out
};

void bind(CLI::App& command, DetokenizeOptions& options);
absl::Status run_detokenize(const DetokenizeOptions& options, std::FILE* in, std::FILE* out);

}  // namespace millrace
