#pragma once

#include <string>

#include "base/status.h"

namespace millrace {

// What a Hugging Face folder says about text.
struct ModelFolder {
  std::string tokenizer;      // tokenizer.json
  std::string config;         // tokenizer_config.json; empty: there is none
  std::string chat_template;  // chat_template.jinja; likewise
};

// A folder, or the tokenizer.json in one.
bool names_model_folder(const std::string& path);
// Refuses files that are larger than such files can be.
absl::StatusOr<ModelFolder> read_model_folder(const std::string& path);

}  // namespace millrace
