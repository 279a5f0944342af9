#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include <absl/functional/function_ref.h>

#include "apps/input/model_folder.h"
#include "apps/options/options.h"
#include "base/status.h"
#include "text/tokenizer.h"

// What commands about text share: a model's vocabulary, and what comes in.

namespace millrace {

// `model` is a GGUF file, a tokenizer.json, or a folder that holds one.
absl::StatusOr<std::unique_ptr<const Tokenizer>> open_vocabulary(const std::string& model,
                                                                 const VocabularyOptions& options);
// tokens_min: as Tokenizer::from_json.
absl::StatusOr<std::unique_ptr<const Tokenizer>> open_vocabulary(const ModelFolder& folder,
                                                                 const VocabularyOptions& options,
                                                                 int32_t tokens_min = 0);

// All bytes of the file, or of `in` where there is no file name.
absl::StatusOr<std::string> read_input(const std::string& file, std::FILE* in);

// Calls `each(line, number)` for the lines of `text`, from 1, until one fails.
absl::Status for_each_line(std::string_view text,
                           absl::FunctionRef<absl::Status(std::string_view, int64_t)> each);

}  // namespace millrace
