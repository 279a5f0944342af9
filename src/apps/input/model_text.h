#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "apps/options/options.h"
#include "base/metadata.h"
#include "base/status.h"
#include "files/checkpoint.h"
#include "text/tokenizer.h"

namespace millrace {

// What a model has besides its weights: how it reads and writes text.
struct ModelText {
  std::unique_ptr<const Tokenizer> tokenizer;
  Metadata templates;  // a folder's chat templates, under the keys that GGUF files have for them
  bool is_folders = false;

  // Where chat templates are.
  const Metadata& chat_metadata(const Checkpoint& checkpoint) const {
    return is_folders ? templates : checkpoint.metadata();
  }
};

// Of the file, or of the folder `model`, whose vocabulary is filled up to `vocab_size` tokens.
// NOT_FOUND: a folder has no tokenizer.json. INVALID_ARGUMENT: it lists more tokens than that.
absl::StatusOr<ModelText> open_model_text(const std::string& model, const Checkpoint& checkpoint,
                                          const VocabularyOptions& options, int32_t vocab_size);

}  // namespace millrace
