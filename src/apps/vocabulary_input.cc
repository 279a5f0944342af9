#include "apps/vocabulary_input.h"

#include <algorithm>
#include <filesystem>

#include "apps/input_text.h"
#include "files/checkpoint.h"

namespace millrace {

namespace {

absl::StatusOr<std::unique_ptr<const Tokenizer>> open_json(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string tokenizer, read_input(path.string(), nullptr));
  const std::filesystem::path config_path = path.parent_path() / "tokenizer_config.json";
  std::string config;
  if (std::filesystem::exists(config_path)) {
    ASSIGN_OR_RETURN(config, read_input(config_path.string(), nullptr));
  }
  return Tokenizer::from_json(tokenizer, config);
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> open_vocabulary(const std::string& model,
                                                                 const VocabularyOptions& options) {
  const std::filesystem::path path(model);
  const bool folder = std::filesystem::is_directory(path);
  if (folder || path.extension() == ".json") {
    if (!options.pre.empty()) {
      return invalid_argument("--pre is for GGUF files; '{}' says itself how text is cut", model);
    }
    return open_json(folder ? path / "tokenizer.json" : path);
  }
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(model));
  return Tokenizer::create(checkpoint.metadata(), options.pre);
}

absl::StatusOr<std::string> read_input(const std::string& file, std::FILE* in) {
  return file.empty() ? read_stream(in) : read_file(file);
}

absl::Status write_output(std::string_view text, std::FILE* out) {
  if (std::fwrite(text.data(), 1, text.size(), out) == text.size()) return absl::OkStatus();
  return internal_error("the output could not be written");
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
