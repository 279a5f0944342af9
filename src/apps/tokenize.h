#pragma once

#include <cstdio>
#include <string>

#include "apps/cli.h"
#include "base/status.h"

namespace millrace {

// `millrace tokenize`: text to tokens, as the engine would read it.
struct TokenizeOptions {
  std::string model;
  std::string file;  // empty: standard input
  bool ids = false;  // the default of the three
  bool pieces = false;
  bool count = false;
  bool jsonl = false;
  bool add_bos = true;      // and eos, where the model wants them
  bool no_special = false;  // spellings of special tokens are plain text
};

void bind(CLI::App& command, TokenizeOptions& options);
absl::Status run_tokenize(const TokenizeOptions& options, std::FILE* in, std::FILE* out);

}  // namespace millrace
