#include "files/hub/hub_model.h"

#include <algorithm>

#include "base/log.h"

namespace millrace {
namespace {

constexpr int64_t kLayersMax = 4096;

absl::Status check_activation(HubModel& model) {
  const std::string_view key = model.arch.names.activation;
  if (key.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string said, model.config.string_or(key, model.arch.activation));
  std::string_view known = model.arch.activation;
  while (!known.empty()) {
    const std::string_view one = known.substr(0, known.find('|'));
    if (said == one || said == model.arch.activation) return absl::OkStatus();
    known.remove_prefix(std::min(known.size(), one.size() + 1));
  }
  return model.config.not_done(
      key.substr(0, key.find('|')),
      fmt::format("is '{}': only '{}' is supported for {}", escape_for_log(said.substr(0, 40)),
                  model.arch.activation, model.arch.hub));
}

absl::Status read_heads(HubModel& model) {
  const HubNames& names = model.arch.names;
  HubShape& shape = model.shape;
  ASSIGN_OR_RETURN(shape.heads, model.config.integer(names.heads, 1, kHubSizeMax));
  shape.kv_heads = shape.heads;
  if (!names.kv_heads.empty()) {
    ASSIGN_OR_RETURN(shape.kv_heads,
                     model.config.integer_or(names.kv_heads, 1, shape.heads, shape.heads));
  }
  if (shape.heads % shape.kv_heads != 0) {
    return model.config.error(names.kv_heads,
                              fmt::format("does not divide the {} query heads", shape.heads));
  }
  const bool says_dim = !names.head_dim.empty() && model.config.has(names.head_dim);
  if (!says_dim && model.arch.head_dim == 0 && shape.width % shape.heads != 0) {
    return model.config.error(names.heads,
                              fmt::format("does not divide the width {}", shape.width));
  }
  shape.head_dim = model.arch.head_dim > 0 ? model.arch.head_dim : shape.width / shape.heads;
  if (says_dim) {
    ASSIGN_OR_RETURN(shape.head_dim, model.config.integer(names.head_dim, 1, kHubSizeMax));
  }
  return absl::OkStatus();
}

absl::Status read_epsilon(HubModel& model) {
  ASSIGN_OR_RETURN(const double epsilon,
                   model.config.number_or(model.arch.names.epsilon, model.arch.epsilon));
  if (model.arch.norm != HubNorm::kLayer) {
    model.keys.number("attention.layer_norm_rms_epsilon", epsilon);
  }
  if (model.arch.norm != HubNorm::kRms) {
    model.keys.number("attention.layer_norm_epsilon", epsilon);
  }
  return absl::OkStatus();
}

// A list with an element for each layer says it too.
absl::StatusOr<int64_t> count_layers(HubModel& model) {
  const std::string_view names = model.arch.names.layers;
  if (model.config.has(names)) return model.config.integer(names, 1, kLayersMax);
  ASSIGN_OR_RETURN(const std::vector<std::string> types,
                   model.config.strings("layers_block_type|layer_types"));
  if (!types.empty() && std::ssize(types) <= kLayersMax) return std::ssize(types);
  return model.config.integer(names, 1, kLayersMax);
}

absl::Status read_sizes(HubModel& model) {
  const HubNames& names = model.arch.names;
  HubConfig& config = model.config;
  ASSIGN_OR_RETURN(model.shape.layers, count_layers(model));
  ASSIGN_OR_RETURN(model.shape.width, config.integer(names.width, 1, kHubSizeMax));
  model.context = model.arch.context;
  if (model.context == 0 || config.has(names.context)) {
    ASSIGN_OR_RETURN(model.context, config.integer(names.context, 1, kHubContextMax));
  }
  ASSIGN_OR_RETURN(const int64_t vocab, config.integer("vocab_size", 1, kHubSizeMax));
  int64_t hidden = model.arch.hidden_multiple * model.shape.width;
  if (!names.hidden.empty() && (hidden == 0 || config.has(names.hidden))) {
    ASSIGN_OR_RETURN(hidden, config.integer(names.hidden, 1, kHubSizeMax));
  }
  if (!names.heads.empty()) RETURN_IF_ERROR(read_heads(model));
  const HubShape& shape = model.shape;
  model.keys.integer("vocab_size", vocab);
  model.keys.integer("block_count", shape.layers);
  model.keys.integer("context_length", model.context);
  model.keys.integer("embedding_length", shape.width);
  model.keys.integer("feed_forward_length", hidden);
  model.keys.integer("attention.head_count", shape.heads);
  if (names.heads.empty()) return absl::OkStatus();
  model.keys.integer("attention.head_count_kv", shape.kv_heads);
  model.keys.integer("attention.key_length", shape.head_dim);
  model.keys.integer("attention.value_length", shape.head_dim);
  return absl::OkStatus();
}

// A quantised folder's tensors are not what their names say.
absl::Status check_not_quantised(HubConfig& config, const HubArch& arch) {
  if (!config.has("quantization_config")) return absl::OkStatus();
  ASSIGN_OR_RETURN(HubConfig quantisation, config.object("quantization_config"));
  ASSIGN_OR_RETURN(const std::string method, quantisation.string_or("quant_method", "unknown"));
  if (!arch.quantisation.empty() && method == arch.quantisation) return absl::OkStatus();
  return unimplemented(
      "config.json: quantization_config: the folder's weights are quantised with '{}', which is "
      "not supported",
      escape_for_log(method.substr(0, 40)));
}

}  // namespace

void HubKeys::integer(std::string_view key, int64_t value) {
  metadata_.set_integer(prefix_ + std::string(key), MetaType::kU32, value);
}
void HubKeys::number(std::string_view key, double value) {
  metadata_.set_number(prefix_ + std::string(key), static_cast<float>(value));
}
void HubKeys::boolean(std::string_view key, bool value) {
  metadata_.set_boolean(prefix_ + std::string(key), value);
}
void HubKeys::text(std::string_view key, std::string_view value) {
  metadata_.set_string(prefix_ + std::string(key), std::string(value));
}
void HubKeys::booleans(std::string_view key, const std::vector<bool>& values) {
  const std::vector<int64_t> integers(values.begin(), values.end());
  metadata_.set_integers(prefix_ + std::string(key), MetaType::kBool, integers);
}
void HubKeys::integers(std::string_view key, std::span<const int64_t> values) {
  metadata_.set_integers(prefix_ + std::string(key), MetaType::kI32, values);
}
void HubKeys::numbers(std::string_view key, std::span<const double> values) {
  metadata_.set_numbers(prefix_ + std::string(key), values);
}
void HubKeys::plain_numbers(std::string_view key, std::span<const double> values) {
  metadata_.set_numbers(std::string(key), values);
}

void set_attention_layers(HubModel& model, const std::vector<bool>& has_attention) {
  std::vector<int64_t> heads;
  for (const bool has : has_attention) heads.push_back(has ? model.shape.kv_heads : 0);
  model.keys.integers("attention.head_count_kv", heads);
}

absl::Status read_experts(HubModel& model) {
  constexpr int64_t kExpertsMax = 1 << 16;
  ASSIGN_OR_RETURN(
      const int64_t count,
      model.config.integer("num_local_experts|num_experts|moe_num_experts", 1, kExpertsMax));
  ASSIGN_OR_RETURN(const int64_t used,
                   model.config.integer("num_experts_per_tok|experts_per_token|moe_k", 1, count));
  model.keys.integer("expert_count", count);
  model.keys.integer("expert_used_count", used);
  return absl::OkStatus();
}

absl::Status read_hub_model(HubModel& model) {
  HubConfig& config = model.config;
  RETURN_IF_ERROR(check_not_quantised(config, model.arch));
  RETURN_IF_ERROR(config.require("is_encoder_decoder", false, "encoders with decoders"));
  RETURN_IF_ERROR(config.require("add_cross_attention", false, "attention to an encoder"));
  RETURN_IF_ERROR(config.require("is_causal", true, "attention that is not causal"));
  RETURN_IF_ERROR(config.require("use_mrope", false, "rope of several dimensions"));
  RETURN_IF_ERROR(config.require("rope_interleaved", false, "pairs that are neighbours"));
  config.pass_over("is_decoder");
  config.pass_over(model.arch.biases);
  config.pass_over(model.arch.ignored);
  RETURN_IF_ERROR(read_sizes(model));
  RETURN_IF_ERROR(read_epsilon(model));
  RETURN_IF_ERROR(check_activation(model));
  if (model.arch.rope.base > 0) RETURN_IF_ERROR(read_hub_rope(model));
  RETURN_IF_ERROR(read_hub_windows(model));
  ASSIGN_OR_RETURN(model.tied,
                   config.boolean_or("tie_embedding|tie_word_embeddings", model.arch.tied));
  if (model.arch.read != nullptr) RETURN_IF_ERROR(model.arch.read(model));
  return config.check_all_read();
}

std::span<const HubArch> all_hub_archs() {
  static const std::vector<HubArch> archs = [] {
    std::vector<HubArch> all;
    for (const auto& list :
         {llama_like_archs(), expert_archs(), other_archs(), state_space_archs(), hybrid_archs(),
          linear_attention_archs(), short_conv_archs(), retnet_archs(), rwkv_archs(),
          latent_archs(), gemma_3n_archs(), gemma_4_archs()}) {
      all.insert(all.end(), list.begin(), list.end());
    }
    return all;
  }();
  return archs;
}

}  // namespace millrace
