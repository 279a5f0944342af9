#include "apps/input/model_text.h"

#include <filesystem>

#include "apps/input/model_folder.h"
#include "apps/input/vocabulary_input.h"
#include "chat/folder_templates.h"

namespace millrace {

absl::StatusOr<ModelText> open_model_text(const std::string& model, const Checkpoint& checkpoint,
                                          const VocabularyOptions& options, int32_t vocab_size) {
  ModelText text;
  text.is_folders = std::filesystem::is_directory(model);
  if (!text.is_folders) {
    ASSIGN_OR_RETURN(text.tokenizer, Tokenizer::create(checkpoint.metadata(), options.pre));
    return text;
  }
  if (!std::filesystem::exists(std::filesystem::path(model) / "tokenizer.json")) {
    return not_found(
        "the folder '{}' has no tokenizer.json, and so no text: only eval --tokens can run it",
        model);
  }
  ASSIGN_OR_RETURN(const ModelFolder folder, read_model_folder(model));
  ASSIGN_OR_RETURN(text.tokenizer, open_vocabulary(folder, options, vocab_size));
  if (text.tokenizer->vocab().size() > vocab_size) {
    return invalid_argument("tokenizer.json has {} tokens, but the model's embedding has {} rows",
                            text.tokenizer->vocab().size(), vocab_size);
  }
  ASSIGN_OR_RETURN(text.templates, folder_templates(folder.config, folder.chat_template));
  return text;
}

}  // namespace millrace
