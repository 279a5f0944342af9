#include "apps/options/speculation.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/ranges.h>

#include "base/json/json_node.h"

namespace millrace {
namespace {

constexpr int64_t kTokensMax = 1024;  // of a draft, and of a run that is looked for
constexpr int32_t kModelDepth = 4;    // of a draft that a model alone makes

using Config = SpeculationConfig;

const std::vector<std::string> kModelAlone = {std::string(DraftModelProposer::kMethod)};

absl::Status check_method(std::string_view method) {
  const auto names = draft_method_names();
  if (std::ranges::count(names, method) > 0) return absl::OkStatus();
  return invalid_argument("method '{}' is none of: {}", method, fmt::join(names, ", "));
}

// Takes an integer of at least 1 into `field`.
template <typename T>
absl::Status take(const JsonNode& value, T& field) {
  ASSIGN_OR_RETURN(const int64_t number, value.integer(1, kTokensMax));
  field = static_cast<T>(number);
  return absl::OkStatus();
}

absl::Status check_draft_model(const std::filesystem::path& path, std::string_view field) {
  if (std::filesystem::exists(path)) return absl::OkStatus();
  return invalid_argument("{}: there is no file or folder '{}'", field, path.string());
}

struct Key {
  std::string_view name;
  absl::Status (*read)(const JsonNode& value, Config& config);
};

constexpr Key kKeys[] = {
    {"method",
     [](const JsonNode& value, Config& config) {
       ASSIGN_OR_RETURN(const std::string_view method, value.string());
       config.methods = {std::string(method)};
       return check_method(method);
     }},
    {"num_speculative_tokens",
     [](const JsonNode& value, Config& config) { return take(value, config.drafting.depth_max); }},
    {"max_draft_tokens",
     [](const JsonNode& value, Config& config) { return take(value, config.drafting.nodes_max); }},
    {"prompt_lookup_min",
     [](const JsonNode& value, Config& config) { return take(value, config.ngram.match_min); }},
    {"prompt_lookup_max",
     [](const JsonNode& value, Config& config) { return take(value, config.ngram.match_max); }},
    {"model",
     [](const JsonNode& value, Config& config) {
       ASSIGN_OR_RETURN(const std::string_view path, value.string());
       config.draft_model.path = path;
       return check_draft_model(path, "model");
     }},
    {"draft_vocab",
     [](const JsonNode& value, Config& config) -> absl::Status {
       ASSIGN_OR_RETURN(const int64_t rows, value.integer(1, std::numeric_limits<int32_t>::max()));
       config.draft_model.head_rows = static_cast<int32_t>(rows);
       return absl::OkStatus();
     }},
    {"tree_width", [](const JsonNode& value,
                      Config& config) { return take(value, config.draft_model.tree_width); }},
    {"min_draft_tokens", [](const JsonNode& value,
                            Config& config) { return take(value, config.draft_model.depth_min); }},
    {"draft_p_min",
     [](const JsonNode& value, Config& config) -> absl::Status {
       ASSIGN_OR_RETURN(const double chance, value.number());
       if (chance < 0 || chance > 1) return value.error("must be between 0 and 1");
       config.draft_model.chance_min = static_cast<float>(chance);
       return absl::OkStatus();
     }},
};

absl::Status read(const JsonNode& json, Config& config) {
  bool has_nodes = false;
  bool has_depth = false;
  RETURN_IF_ERROR(json.for_each_member([&](std::string_view name, const JsonNode& value) {
    const auto found = std::ranges::find(kKeys, name, &Key::name);
    if (found == std::end(kKeys)) return value.not_done("is no field of --speculative-config");
    has_nodes |= name == "max_draft_tokens";
    has_depth |= name == "num_speculative_tokens";
    return found->read(value, config);
  }));
  if (config.methods.empty()) return invalid_argument("method is missing");
  if (!has_depth && config.methods == kModelAlone) config.drafting.depth_max = kModelDepth;
  // A chain has as many nodes as it is deep.
  if (!has_nodes) config.drafting.nodes_max = config.drafting.depth_max;
  if (drafts_by_model(config) && config.draft_model.path.empty()) {
    return invalid_argument("model is missing, which is the path of a model that drafts");
  }
  if (config.ngram.match_min > config.ngram.match_max) {
    return invalid_argument("prompt_lookup_min is {}, prompt_lookup_max only {}",
                            config.ngram.match_min, config.ngram.match_max);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SpeculationConfig> SpeculationOptions::config() const {
  SpeculationConfig config;
  const std::string& other = draft.first_given;
  if (!json.empty() && !other.empty()) {
    return invalid_argument("{} and --speculative-config both say how to draft: give one", other);
  }
  const std::string name = other.empty() ? "--speculative-config" : other;
  const std::string text = other.empty() ? json : draft.as_config();
  if (text.empty()) return config;
  ASSIGN_OR_RETURN(const JsonNode node, JsonNode::parse(text, name));
  if (!node.is_object()) return node.error("must be an object such as {\"method\": \"ngram\"}");
  if (const absl::Status status = read(node, config); !status.ok()) {
    return invalid_argument("{}: {}", name, message_of(status));
  }
  return config;
}

void bind(CLI::App& command, SpeculationOptions& options) {
  command
      .add_option(
          "--speculative-config", options.json,
          "guess tokens ahead and verify several in one step, with the same answers: a JSON "
          "object such as {\"method\": \"ngram\", \"num_speculative_tokens\": 8}; see "
          "docs/decoding.md")
      ->type_name("JSON")
      ->group("Speculation");
  bind(command, options.draft);
}

}  // namespace millrace
