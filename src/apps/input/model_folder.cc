#include "apps/input/model_folder.h"

#include <filesystem>

#include "apps/input/input_text.h"

namespace millrace {
namespace {

// Beyond these their readers refuse them anyway.
constexpr size_t kJsonBytesMax = 128 << 20;
constexpr size_t kTemplateBytesMax = 1 << 20;

absl::StatusOr<std::string> read_bounded(const std::filesystem::path& path, size_t bytes_max) {
  ASSIGN_OR_RETURN(std::string text, read_file(path.string(), bytes_max + 1));
  if (text.size() <= bytes_max) return text;
  return invalid_argument("'{}' has more than {} bytes", path.string(), bytes_max);
}

absl::StatusOr<std::string> read_if_there(const std::filesystem::path& path, size_t bytes_max) {
  return std::filesystem::exists(path) ? read_bounded(path, bytes_max) : std::string();
}

}  // namespace

bool names_model_folder(const std::string& path) {
  return std::filesystem::is_directory(path) || std::filesystem::path(path).extension() == ".json";
}

absl::StatusOr<ModelFolder> read_model_folder(const std::string& path) {
  const bool is_folder = std::filesystem::is_directory(path);
  const std::filesystem::path folder =
      is_folder ? std::filesystem::path(path) : std::filesystem::path(path).parent_path();
  ModelFolder read;
  ASSIGN_OR_RETURN(read.tokenizer,
                   read_bounded(is_folder ? folder / "tokenizer.json" : std::filesystem::path(path),
                                kJsonBytesMax));
  ASSIGN_OR_RETURN(read.config, read_if_there(folder / "tokenizer_config.json", kJsonBytesMax));
  ASSIGN_OR_RETURN(read.chat_template,
                   read_if_there(folder / "chat_template.jinja", kTemplateBytesMax));
  return read;
}

}  // namespace millrace
