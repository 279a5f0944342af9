#include "models/arch/unread_keys.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "base/log.h"

namespace millrace {
namespace {

struct KnownKey {
  std::string_view name;
  std::string_view what;
  // Values that ask for nothing; true is 1, false is 0.
  double nothing = 0;
  double also = nothing;
};

constexpr double kNever = std::numeric_limits<double>::quiet_NaN();

// What converters write of models that run as if the key were not there. Everything else may change
// the answers.
constexpr std::string_view kHarmless[] = {
    "rope.scaling.finetuned",                // how the scaling came to be
    "rope.scaling.original_context_length",  // is read where the kind of scaling uses it
    "attention.layer_norm_epsilon",          // both are read where an architecture has such norms
    "attention.layer_norm_rms_epsilon",
};

constexpr KnownKey kKnownKeys[] = {
    {"router_logit_softcapping", "soft-capping of a router's logits"},
    {"attention.clamp_kqv", "clamping of queries, keys and values"},
    {"attention.causal", "attention that is not causal", 1},
    {"attention.shared_kv_layers", "keys and values shared by layers"},
    {"attention.group_norm_epsilon", "group norms"},
    {"attention.group_norm_groups", "group norms"},
    {"attention.q_lora_rank", "latent attention"},
    {"attention.kv_lora_rank", "latent attention"},
    {"attention.temperature_scale", "attention scores scaled by position"},
    {"attention.temperature_length", "attention scores scaled by position"},
    {"attention.output_scale", "scaling of attention's output", 0, 1},
    {"use_parallel_residual", "attention and feed-forward network side by side"},
    {"expert_count", "mixtures of experts"},
    {"expert_used_count", "mixtures of experts"},
    {"expert_shared_count", "mixtures of experts"},
    {"leading_dense_block_count", "mixtures of experts"},
    {"interleave_moe_layer_step", "mixtures of experts"},
    {"moe_every_n_layers", "mixtures of experts"},
    {"nextn_predict_layers", "prediction of several tokens at once"},
    {"pooling_type", "pooling: the file is an embedding model"},
    {"classifier.output_labels", "classification: the file is a reranker", kNever},
    {"swin_norm", "norms after each sublayer"},
    {"rescale_every_n_layers", "rescaling of layers"},
    {"rope.scaling.yarn_log_multiplier", "YaRN's multiplier of the logarithm"},
    {"rope.scaling.yarn_ext_factor", "YaRN's mix of frequencies", 0, -1},
    {"rope.scaling.yarn_attn_factor", "YaRN's scaling of attention", 1, -1},
    {"rope.scaling.attn_factor", "scaling of attention with this kind of rope scaling", 1},
    {"rope.scaling.yarn_beta_fast", "YaRN", 32, -1},
    {"rope.scaling.yarn_beta_slow", "YaRN", 1, -1},
    {"rope.scaling.alpha", "NTK scaling of rope", 0, 1},
    {"rope.dimension_sections", "rope of several dimensions", kNever},
    {"rope.freq_base_swa", "a rope of its own for windowed layers", kNever},
    {"hidden_activation", "another activation than SiLU", kNever},
    {"decoder_start_token_id", "encoders with decoders", -1, UINT32_MAX},
    {"decoder_block_count", "encoders with decoders"},
    {"attention.relative_buckets_count", "biases by distance"},
    {"embedding_length_out", "an output of another width"},
    {"time_mix_extra_dim", "recurrent layers"},
    {"time_decay_extra_dim", "recurrent layers"},
    {"token_shift_count", "recurrent layers"},
    {"wkv.head_size", "recurrent layers"},
};

// Of networks that no architecture here has: 0 says that the model has none.
constexpr KnownKey kKnownGroups[] = {
    {"expert", "mixtures of experts"}, {"ssm.", "state-space layers"},
    {"convnext.", "convolutions"},     {"posnet.", "convolutions"},
    {"shortconv.", "convolutions"},
};

// Null: neither the key nor its group is known.
const KnownKey* find_known(std::string_view name) {
  const auto* key = std::ranges::find(kKnownKeys, name, &KnownKey::name);
  if (key != std::end(kKnownKeys)) return key;
  const auto* group = std::ranges::find_if(
      kKnownGroups, [&](const KnownKey& known) { return name.starts_with(known.name); });
  return group == std::end(kKnownGroups) ? nullptr : group;
}

std::optional<double> number_of(const MetaValue& value) {
  if (const auto* integer = std::get_if<int64_t>(&value.value)) {
    return static_cast<double>(*integer);
  }
  if (const auto* real = std::get_if<double>(&value.value)) return *real;
  return std::nullopt;
}

std::string shown(const MetaValue& value) {
  if (const auto* text = std::get_if<std::string_view>(&value.value)) {
    return fmt::format("'{}'", escape_for_log(text->substr(0, 40)));
  }
  if (value.type == MetaType::kBool) return std::get<int64_t>(value.value) != 0 ? "true" : "false";
  if (value.type == MetaType::kF32) {
    return fmt::to_string(static_cast<float>(std::get<double>(value.value)));
  }
  if (const std::optional<double> number = number_of(value)) return fmt::to_string(*number);
  return "an array";
}

}  // namespace

absl::Status check_asks_nothing(std::string_view key, std::string_view name,
                                const MetaValue& value) {
  if (std::ranges::find(kHarmless, name) != std::end(kHarmless)) return absl::OkStatus();
  const KnownKey* known = find_known(name);
  const std::string shown_key = escape_for_log(key.substr(0, 120));
  if (known != nullptr) {
    const std::optional<double> number = number_of(value);
    if (number && (*number == known->nothing || *number == known->also)) return absl::OkStatus();
    return unimplemented("key '{}' is {}: not supported: {}", shown_key, shown(value), known->what);
  }
  return unimplemented(
      "key '{}' is {}: Millrace does not know it, and it may change the model's answers", shown_key,
      shown(value));
}

}  // namespace millrace
