#include "apps/input/generation_config.h"

#include <filesystem>

#include <CLI/CLI.hpp>

#include "apps/input/input_text.h"
#include "base/json/json_node.h"

namespace millrace {
namespace {

constexpr std::string_view kFile = "generation_config.json";
constexpr size_t kBytesMax = 1 << 20;

absl::StatusOr<JsonNode> read_json(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path.string(), kBytesMax + 1));
  if (text.size() > kBytesMax) {
    return invalid_argument("'{}' has more than {} bytes", path.string(), kBytesMax);
  }
  return JsonNode::parse(text, "it");
}

// Nothing where the key is absent or null.
absl::Status read_number(const JsonNode& root, std::string_view key, double min, double max,
                         std::optional<float>& value) {
  ASSIGN_OR_RETURN(const JsonNode node, root.at(key));
  if (node.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const double number, node.number());
  if (!(number >= min && number <= max)) {
    return node.error(fmt::format("is {}; {} to {} is possible", number, min, max));
  }
  value = static_cast<float>(number);
  return absl::OkStatus();
}

absl::Status read_sampling(const JsonNode& root, AnswerDefaults& defaults) {
  constexpr double kLargest = 1000;
  RETURN_IF_ERROR(read_number(root, "temperature", 0, kLargest, defaults.temperature));
  RETURN_IF_ERROR(read_number(root, "top_p", 0, 1, defaults.top_p));
  RETURN_IF_ERROR(read_number(root, "min_p", 0, 1, defaults.min_p));
  RETURN_IF_ERROR(read_number(root, "repetition_penalty", 1e-3, kLargest, defaults.repetition));
  ASSIGN_OR_RETURN(const JsonNode top_k, root.at("top_k"));
  if (top_k.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t k, top_k.integer(-1, INT32_MAX));
  defaults.top_k = k < 0 ? 0 : static_cast<int32_t>(k);
  return absl::OkStatus();
}

// `eos_token_id`: one, or a list.
absl::Status read_ends(const JsonNode& root, int32_t vocab_size, std::vector<TokenId>& ends) {
  ASSIGN_OR_RETURN(const JsonNode node, root.at("eos_token_id"));
  if (node.is_null()) return absl::OkStatus();
  const auto add = [&](int64_t, const JsonNode& one) -> absl::Status {
    ASSIGN_OR_RETURN(const int64_t id, one.integer(-1, vocab_size - 1));
    if (id >= 0) ends.push_back(static_cast<TokenId>(id));
    return absl::OkStatus();
  };
  return node.is_array() ? node.for_each_element(add) : add(0, node);
}

absl::Status read_one(const std::filesystem::path& path, bool sampling, int32_t vocab_size,
                      AnswerDefaults& defaults) {
  absl::StatusOr<JsonNode> root = read_json(path);
  absl::Status status = root.status();
  if (status.ok() && sampling) status = read_sampling(*root, defaults);
  if (status.ok()) status = read_ends(*root, vocab_size, defaults.ends);
  if (status.ok() || absl::IsNotFound(status)) return status;
  return make_error(status.code(), "'{}': {}", path.string(), message_of(status));
}

}  // namespace

void bind_generation_config(CLI::App& command, std::string& choice) {
  command
      .add_option("--generation-config", choice,
                  "defaults of sampling and ends of answers: auto: those of the model's folder "
                  "(generation_config.json); none, or vllm: none; or a file or folder")
      ->type_name("auto|none|PATH")
      ->group("Answering");
}

absl::StatusOr<AnswerDefaults> read_answer_defaults(const std::string& model,
                                                    const std::string& choice, int32_t vocab_size) {
  AnswerDefaults defaults;
  const std::filesystem::path folder = model;
  const bool is_folder = std::filesystem::is_directory(folder);
  const bool is_none = choice == "none" || choice == "vllm";
  if (!is_none && choice != "auto") {
    std::filesystem::path path = choice;
    if (std::filesystem::is_directory(path)) path /= kFile;
    RETURN_IF_ERROR(read_one(path, /*sampling=*/true, vocab_size, defaults));
  } else if (!is_none && is_folder && std::filesystem::exists(folder / kFile)) {
    RETURN_IF_ERROR(read_one(folder / kFile, /*sampling=*/true, vocab_size, defaults));
  }
  if (defaults.ends.empty() && is_folder) {
    RETURN_IF_ERROR(read_one(folder / "config.json", /*sampling=*/false, vocab_size, defaults));
  }
  return defaults;
}

}  // namespace millrace
