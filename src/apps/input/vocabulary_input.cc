#include "apps/input/vocabulary_input.h"

#include <algorithm>

#include "apps/input/input_text.h"
#include "files/checkpoint.h"

namespace millrace {

absl::StatusOr<std::unique_ptr<const Tokenizer>> open_vocabulary(const ModelFolder& folder,
                                                                 const VocabularyOptions& options,
                                                                 int32_t tokens_min) {
  if (!options.pre.empty()) {
    return invalid_argument(
        "--pre is for GGUF files; a tokenizer.json says itself how text is cut");
  }
  return Tokenizer::from_json(folder.tokenizer, folder.config, tokens_min);
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> open_vocabulary(const std::string& model,
                                                                 const VocabularyOptions& options) {
  if (names_model_folder(model)) {
    ASSIGN_OR_RETURN(const ModelFolder folder, read_model_folder(model));
    return open_vocabulary(folder, options);
  }
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(model));
  return Tokenizer::create(checkpoint.metadata(), options.pre);
}

absl::StatusOr<std::string> read_input(const std::string& file, std::FILE* in) {
  return file.empty() ? read_stream(in) : read_file(file);
}

absl::Status for_each_line(std::string_view text,
                           absl::FunctionRef<absl::Status(std::string_view, int64_t)> each) {
  for (int64_t number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    RETURN_IF_ERROR(each(line, number));
  }
  return absl::OkStatus();
}

}  // namespace millrace
