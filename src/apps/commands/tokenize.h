#pragma once

#include <cstdio>
#include <optional>
#include <string>

#include "apps/options/options.h"
#include "base/status.h"

namespace millrace {

// `millrace tokenize`: text to tokens, as the engine would read it.
struct TokenizeOptions {
  std::string model;
  VocabularyOptions vocabulary;
  std::string file;  // empty: standard input
  bool ids = false;  // the default of the three
  bool pieces = false;
  bool count = false;
  bool jsonl = false;
  std::optional<bool> add_bos;  // true: always, false: nor eos; nothing: as the vocabulary says
  bool no_special = false;      // spellings of special tokens are plain text
  int timings = 0;              // times that the text is encoded to be measured
};

void bind(CLI::App& command, TokenizeOptions& options);
absl::Status run_tokenize(const TokenizeOptions& options, std::FILE* in, std::FILE* out);

}  // namespace millrace
