#include "apps/options/speculation.h"

#include <algorithm>
#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/ranges.h>

#include "apps/options/check_speculation.h"
#include "apps/terminal/one_line.h"
#include "base/json/json_node.h"

namespace millrace {
namespace {

constexpr int64_t kTokensMax = 1024;  // of a draft, and of a run that is looked for

using Config = SpeculationConfig;

// Escaped, as what was given may have any characters.
absl::Status is_no_method(const JsonNode& value, std::string_view method) {
  return value.error(
      fmt::format("is '{}', none of: {}", one_line(method), fmt::join(draft_method_names(), ", ")));
}

// Takes an integer of at least 1 into `field`.
template <typename T>
absl::Status take(const JsonNode& value, T& field) {
  ASSIGN_OR_RETURN(const int64_t number, value.integer(1, kTokensMax));
  field = static_cast<T>(number);
  return absl::OkStatus();
}

struct Key {
  std::string_view name;
  absl::Status (*read)(const JsonNode& value, Config& config);
};

constexpr Key kKeys[] = {
    {"method",
     [](const JsonNode& value, Config& config) {
       ASSIGN_OR_RETURN(const std::string_view method, value.string());
       if (std::ranges::count(draft_method_names(), method) == 0) {
         return is_no_method(value, method);
       }
       config.methods = {std::string(method)};
       return absl::OkStatus();
     }},
    {"num_speculative_tokens",
     [](const JsonNode& value, Config& config) { return take(value, config.drafting.depth_max); }},
    {"max_draft_tokens",
     [](const JsonNode& value, Config& config) { return take(value, config.drafting.nodes_max); }},
    {"prompt_lookup_min",
     [](const JsonNode& value, Config& config) { return take(value, config.ngram.match_min); }},
    {"prompt_lookup_max",
     [](const JsonNode& value, Config& config) { return take(value, config.ngram.match_max); }},
};

absl::Status read(const JsonNode& json, Config& config) {
  bool has_nodes = false;
  RETURN_IF_ERROR(json.for_each_member([&](std::string_view name, const JsonNode& value) {
    const auto found = std::ranges::find(kKeys, name, &Key::name);
    if (found == std::end(kKeys)) return value.not_done("is no field of --speculative-config");
    has_nodes |= name == "max_draft_tokens";
    return found->read(value, config);
  }));
  // A chain has as many nodes as it is deep.
  if (!has_nodes) config.drafting.nodes_max = config.drafting.depth_max;
  if (config.methods.empty()) return invalid_argument("method is missing");
  if (config.ngram.match_min > config.ngram.match_max) {
    return invalid_argument("prompt_lookup_min is {}, prompt_lookup_max only {}",
                            config.ngram.match_min, config.ngram.match_max);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SpeculationConfig> SpeculationOptions::config(const EngineLimits& limits) const {
  SpeculationConfig config;
  if (json.empty()) return config;
  ASSIGN_OR_RETURN(const JsonNode node, JsonNode::parse(json, "--speculative-config"));
  if (!node.is_object()) return node.error("must be an object such as {\"method\": \"ngram\"}");
  absl::Status status = read(node, config);
  if (status.ok()) status = check_speculation(node, limits.max_num_batched_tokens, config);
  if (!status.ok()) {
    return invalid_argument("--speculative-config: {}", message_of(status));
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
}

}  // namespace millrace
