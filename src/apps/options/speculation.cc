#include "apps/options/speculation.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/ranges.h>

#include "apps/terminal/one_line.h"
#include "base/json/json_node.h"

namespace millrace {
namespace {

constexpr int64_t kTokensMax = 1024;  // of a draft
constexpr int64_t kRunMax = 64;  // of a run that is looked for: each token costs so many look-ups
constexpr int64_t kTreeWidthMax = 32;
constexpr int32_t kModelDepth = 4;  // of a draft that a model alone makes

constexpr int64_t kTreeDepthMin = 2;  // a token that is looked for, and one that is guessed
constexpr int64_t kAnswersMax = int64_t{1} << 30;
constexpr int64_t kAnswerBytesMin = int64_t{1} << 20;
constexpr int64_t kAnswerBytesMax = int64_t{1} << 36;

using Config = SpeculationConfig;

const std::vector<std::string> kModelAlone = {std::string(DraftModelProposer::kMethod)};

// Texts are shown escaped, as what was given may have any characters.
absl::Status add_method(const JsonNode& value, Config& config) {
  ASSIGN_OR_RETURN(const std::string_view method, value.string());
  if (method == "auto") return value.error("is 'auto', which stands alone");
  const auto names = draft_method_names();
  if (std::ranges::count(names, method) == 0) {
    return value.error(
        fmt::format("is '{}', none of: auto, {}", one_line(method), fmt::join(names, ", ")));
  }
  if (std::ranges::count(config.methods, method) > 0) {
    return value.error(fmt::format("is '{}' once more", method));
  }
  config.methods.emplace_back(method);
  return absl::OkStatus();
}

// Of a list with no names in it nothing can be made; without a method all compete.
absl::Status fill_methods(const JsonNode& json, Config& config) {
  ASSIGN_OR_RETURN(const JsonNode method, json.at("method"));
  if (method.is_array() && config.methods.empty()) {
    return invalid_argument("method is an empty list");
  }
  config.drafting.automatic = config.methods.empty();
  if (!config.drafting.automatic) return absl::OkStatus();
  const bool has_model = !config.draft_model.path.empty();
  for (const std::string_view name : draft_method_names()) {
    if (name != DraftModelProposer::kMethod || has_model) config.methods.emplace_back(name);
  }
  return absl::OkStatus();
}

// Takes an integer into `field`.
template <typename T>
absl::Status take(const JsonNode& value, T& field, int64_t min = 1, int64_t max = kTokensMax) {
  ASSIGN_OR_RETURN(const int64_t number, value.integer(min, max));
  field = static_cast<T>(number);
  return absl::OkStatus();
}

absl::Status take_factor(const JsonNode& value, double& field) {
  ASSIGN_OR_RETURN(field, value.number());
  return field > 0 ? absl::OkStatus() : value.error("must be more than 0");
}

absl::Status take_probability(const JsonNode& value, double& field) {
  ASSIGN_OR_RETURN(field, value.number());
  return field >= 0 && field <= 1 ? absl::OkStatus() : value.error("must be from 0 to 1");
}

absl::Status check_draft_model(const JsonNode& value, const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::exists(path, error)) return absl::OkStatus();
  return value.error(
      fmt::format("is '{}', but there is no such file or folder", one_line(path.string())));
}

struct Key {
  std::string_view name;
  absl::Status (*read)(const JsonNode& value, Config& config);
};

constexpr Key kKeys[] = {
    {"method",
     [](const JsonNode& value, Config& config) {
       if (value.is_array()) {
         return value.for_each_element(
             [&](int64_t /*index*/, const JsonNode& name) { return add_method(name, config); });
       }
       ASSIGN_OR_RETURN(const std::string_view method, value.string());
       return method == "auto" ? absl::OkStatus() : add_method(value, config);
     }},
    {"num_speculative_tokens",
     [](const JsonNode& value, Config& config) { return take(value, config.drafting.depth_max); }},
    {"max_draft_tokens",
     [](const JsonNode& value, Config& config) { return take(value, config.drafting.nodes_max); }},
    {"prompt_lookup_min",
     [](const JsonNode& value, Config& config) {
       return take(value, config.ngram.match_min, 1, kRunMax);
     }},
    {"prompt_lookup_max",
     [](const JsonNode& value, Config& config) {
       return take(value, config.ngram.match_max, 1, kRunMax);
     }},
    {"suffix_decoding_max_tree_depth",
     [](const JsonNode& value, Config& config) {
       return take(value, config.suffix.tree_depth, kTreeDepthMin, kRunMax);
     }},
    {"suffix_decoding_max_cached_requests",
     [](const JsonNode& value, Config& config) {
       return take(value, config.suffix.answers_max, 0, kAnswersMax);
     }},
    {"suffix_decoding_max_cached_bytes",
     [](const JsonNode& value, Config& config) {
       return take(value, config.suffix.bytes_max, kAnswerBytesMin, kAnswerBytesMax);
     }},
    {"suffix_decoding_max_spec_factor",
     [](const JsonNode& value, Config& config) {
       return take_factor(value, config.suffix.nodes_per_match);
     }},
    {"suffix_decoding_min_token_prob",
     [](const JsonNode& value, Config& config) {
       return take_probability(value, config.suffix.chance_min);
     }},
    {"model",
     [](const JsonNode& value, Config& config) {
       ASSIGN_OR_RETURN(const std::string_view path, value.string());
       config.draft_model.path = path;
       return check_draft_model(value, path);
     }},
    {"draft_vocab",
     [](const JsonNode& value, Config& config) -> absl::Status {
       ASSIGN_OR_RETURN(const int64_t rows, value.integer(1, std::numeric_limits<int32_t>::max()));
       config.draft_model.head_rows = static_cast<int32_t>(rows);
       return absl::OkStatus();
     }},
    {"tree_width",
     [](const JsonNode& value, Config& config) {
       return take(value, config.draft_model.tree_width, 1, kTreeWidthMax);
     }},
    {"min_draft_tokens",
     [](const JsonNode& value, Config& config) {
       return take(value, config.draft_model.depth_min, 0);
     }},
    {"draft_p_min",
     [](const JsonNode& value, Config& config) {
       return take_probability(value, config.draft_model.chance_min);
     }},
};

// Keys, or what they begin with, of one method alone.
constexpr struct {
  std::string_view key, method;
} kOwners[] = {
    {"prompt_lookup_", "ngram"},    {"suffix_decoding_", "suffix"},
    {"model", "draft_model"},       {"draft_vocab", "draft_model"},
    {"tree_width", "draft_model"},  {"min_draft_tokens", "draft_model"},
    {"draft_p_min", "draft_model"},
};

absl::Status check_owner(std::string_view key, const Config& config) {
  const auto owner =
      std::ranges::find_if(kOwners, [key](const auto& one) { return key.starts_with(one.key); });
  if (owner == std::end(kOwners)) return absl::OkStatus();
  if (std::ranges::count(config.methods, owner->method) > 0) return absl::OkStatus();
  return invalid_argument("{} is of method {}, which is not chosen", key, owner->method);
}

absl::Status fit(const JsonNode& json, std::string_view key, int64_t room, std::string_view where,
                 int32_t& size) {
  if (size <= room) return absl::OkStatus();
  ASSIGN_OR_RETURN(const JsonNode given, json.at(key));
  if (!given.is_null()) return invalid_argument("{} is {}, but {} {}", key, size, where, room);
  size = static_cast<int32_t>(room);
  return absl::OkStatus();
}

// Where drafts have to pay, how far one goes is not for a bound to say.
absl::Status check_bounds_of_auto(const Config& config) {
  if (!config.drafting.automatic) return absl::OkStatus();
  const bool has_chance = config.draft_model.chance_min > 0;
  if (!has_chance && config.draft_model.depth_min == 0) return absl::OkStatus();
  return invalid_argument("{} is for a method that is named; auto goes as far as it pays",
                          has_chance ? "draft_p_min" : "min_draft_tokens");
}

// What was not given is made to fit.
absl::Status check_sizes(const JsonNode& json, int64_t step_rows, Config& config) {
  const int64_t room = step_rows - 1;  // beside the last known token
  if (room < 1) {
    return invalid_argument("a step of --max-num-batched-tokens 1 has no room for drafts");
  }
  constexpr std::string_view kStep =
      "beside a sequence's last token a step (--max-num-batched-tokens) has room for";
  DraftingOptions& drafting = config.drafting;
  RETURN_IF_ERROR(fit(json, "num_speculative_tokens", room, kStep, drafting.depth_max));
  RETURN_IF_ERROR(fit(json, "max_draft_tokens", room, kStep, drafting.nodes_max));
  RETURN_IF_ERROR(fit(json, "num_speculative_tokens", drafting.nodes_max, "max_draft_tokens only",
                      drafting.depth_max));
  return fit(json, "min_draft_tokens", drafting.depth_max, "drafts have at most",
             config.draft_model.depth_min);
}

absl::Status read(const JsonNode& json, int64_t step_rows, Config& config) {
  bool has_nodes = false;
  bool has_depth = false;
  RETURN_IF_ERROR(json.for_each_member([&](std::string_view name, const JsonNode& value) {
    const auto found = std::ranges::find(kKeys, name, &Key::name);
    if (found == std::end(kKeys)) return value.not_done("is no field of --speculative-config");
    has_nodes |= name == "max_draft_tokens";
    has_depth |= name == "num_speculative_tokens";
    return found->read(value, config);
  }));
  RETURN_IF_ERROR(fill_methods(json, config));
  if (!has_depth && config.methods == kModelAlone) config.drafting.depth_max = kModelDepth;
  // What several methods propose is seldom one chain. A tree of one method has as many nodes as its
  // chain, the likeliest, and costs as much to verify.
  const int32_t paths = config.methods.size() > 1 ? 2 : 1;
  if (!has_nodes) config.drafting.nodes_max = paths * config.drafting.depth_max;
  if (drafts_by_model(config) && config.draft_model.path.empty()) {
    return invalid_argument("model is missing, which is the path of a model that drafts");
  }
  RETURN_IF_ERROR(fit(json, "prompt_lookup_min", config.ngram.match_max, "prompt_lookup_max only",
                      config.ngram.match_min));
  RETURN_IF_ERROR(json.for_each_member(
      [&](std::string_view key, const JsonNode& /*value*/) { return check_owner(key, config); }));
  RETURN_IF_ERROR(check_bounds_of_auto(config));
  return check_sizes(json, step_rows, config);
}

}  // namespace

absl::StatusOr<SpeculationConfig> SpeculationOptions::config(const EngineLimits& limits) const {
  SpeculationConfig config;
  const std::string& other = draft.first_given;
  if (!json.empty() && !other.empty()) {
    return invalid_argument("{} and --speculative-config both say how to draft: give one", other);
  }
  const std::string name = other.empty() ? "--speculative-config" : other;
  const std::string text = other.empty() ? json : draft.as_config();
  if (text.empty()) return config;
  ASSIGN_OR_RETURN(const JsonNode node, JsonNode::parse(text, name));
  const absl::Status status = read(node, limits.max_num_batched_tokens, config);
  if (!status.ok()) {
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
      ->check(not_empty())
      ->type_name("JSON")
      ->group("Speculation");
  bind(command, options.draft);
}

}  // namespace millrace
