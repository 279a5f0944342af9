#include "apps/options/check_speculation.h"

#include <algorithm>
#include <string_view>

namespace millrace {
namespace {

// Keys, or what they begin with, of one method alone.
constexpr struct {
  std::string_view key, method;
} kOwners[] = {
    {"prompt_lookup_", "ngram"},    {"suffix_decoding_", "suffix"},
    {"model", "draft_model"},       {"draft_vocab", "draft_model"},
    {"tree_width", "draft_model"},  {"min_draft_tokens", "draft_model"},
    {"draft_p_min", "draft_model"},
};

absl::Status check_owner(std::string_view key, const SpeculationConfig& config) {
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

}  // namespace

absl::Status check_speculation(const JsonNode& json, int64_t step_rows, SpeculationConfig& config) {
  RETURN_IF_ERROR(json.for_each_member(
      [&](std::string_view key, const JsonNode& /*value*/) { return check_owner(key, config); }));
  const int64_t room = step_rows - 1;  // beside the last known token
  if (room < 1)
    return invalid_argument("a step of --max-num-batched-tokens 1 has no room for drafts");
  constexpr std::string_view kStep =
      "beside a sequence's last token a step (--max-num-batched-tokens) has room for";
  DraftingOptions& drafting = config.drafting;
  RETURN_IF_ERROR(fit(json, "num_speculative_tokens", room, kStep, drafting.depth_max));
  RETURN_IF_ERROR(fit(json, "max_draft_tokens", room, kStep, drafting.nodes_max));
  return fit(json, "num_speculative_tokens", drafting.nodes_max, "max_draft_tokens only",
             drafting.depth_max);
}

}  // namespace millrace
