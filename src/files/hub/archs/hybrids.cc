#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "files/hub/archs/state_space.h"

namespace millrace {
namespace {

constexpr TensorRule kJamba[] = {
    {"model.layers.#.mamba.in_proj", "blk.#.ssm_in"},
    {"model.layers.#.mamba.conv1d", "blk.#.ssm_conv1d", Transform::kSqueezed},
    {"model.layers.#.mamba.x_proj", "blk.#.ssm_x"},
    {"model.layers.#.mamba.dt_proj", "blk.#.ssm_dt"},
    {"model.layers.#.mamba.A_log", "blk.#.ssm_a", Transform::kNegatedExp},
    {"model.layers.#.mamba.D", "blk.#.ssm_d"},
    {"model.layers.#.mamba.dt_layernorm", "blk.#.ssm_dt_norm"},
    {"model.layers.#.mamba.b_layernorm", "blk.#.ssm_b_norm"},
    {"model.layers.#.mamba.c_layernorm", "blk.#.ssm_c_norm"},
    {"model.layers.#.mamba.out_proj", "blk.#.ssm_out"},
    {"model.layers.#.pre_ff_layernorm", "blk.#.ffn_norm"},
    {"model.layers.#.feed_forward.gate_proj", "blk.#.ffn_gate"},
    {"model.layers.#.feed_forward.up_proj", "blk.#.ffn_up"},
    {"model.layers.#.feed_forward.down_proj", "blk.#.ffn_down"},
    {"model.layers.#.feed_forward.router", "blk.#.ffn_gate_inp"},
    {"model.layers.#.feed_forward.experts.@.gate_proj", "blk.#.ffn_gate_exps"},
    {"model.layers.#.feed_forward.experts.@.up_proj", "blk.#.ffn_up_exps"},
    {"model.layers.#.feed_forward.experts.@.down_proj", "blk.#.ffn_down_exps"},
    {"model.layers.#.feed_forward.experts.gate_up_proj", "blk.#.ffn_gate_exps.weight",
     Transform::kFirstHalf},
    {"model.layers.#.feed_forward.experts.gate_up_proj", "blk.#.ffn_up_exps.weight",
     Transform::kSecondHalf},
    {"model.layers.#.feed_forward.experts.down_proj", "blk.#.ffn_down_exps.weight"},
    {"model.final_layernorm", "output_norm"},
};

// Multipliers of Falcon-H1: its files have weights that are multiplied already.
enum FalconFactor : int32_t {
  kEmbedding,
  kHead,
  kQuery,  // and value
  kKey,
  kKeyBias,
  kAttentionOut,
  kMambaOut,
  kGate,
  kDown,
  kMambaIn,
  kMambaInBias = kMambaIn + 5,
  kFalconFactors = kMambaInBias + 5,
};

constexpr TensorRule kFalconH1[] = {
    {"model.embed_tokens", "token_embd", Transform::kCopy, kEmbedding},
    {"model.layers.#.mamba.in_proj.weight", "blk.#.ssm_in.weight", Transform::kMambaIn, kMambaIn},
    {"model.layers.#.mamba.in_proj.bias", "blk.#.ssm_in.bias", Transform::kMambaIn, kMambaInBias},
    {"model.layers.#.mamba.conv1d", "blk.#.ssm_conv1d", Transform::kSqueezed},
    {"model.layers.#.mamba.dt_bias", "blk.#.ssm_dt.bias"},
    {"model.layers.#.mamba.A_log", "blk.#.ssm_a", Transform::kNegatedExpColumn},
    {"model.layers.#.mamba.D", "blk.#.ssm_d", Transform::kColumn},
    {"model.layers.#.mamba.norm", "blk.#.ssm_norm", Transform::kGroups},
    {"model.layers.#.mamba.out_proj", "blk.#.ssm_out", Transform::kCopy, kMambaOut},
    {"model.layers.#.self_attn.q_proj.weight", "blk.#.attn_q.weight", Transform::kCopy, kQuery},
    {"model.layers.#.self_attn.k_proj.weight", "blk.#.attn_k.weight", Transform::kCopy, kKey},
    {"model.layers.#.self_attn.k_proj.bias", "blk.#.attn_k.bias", Transform::kCopy, kKeyBias},
    {"model.layers.#.self_attn.v_proj.weight", "blk.#.attn_v.weight", Transform::kCopy, kQuery},
    {"model.layers.#.self_attn.o_proj", "blk.#.attn_output", Transform::kCopy, kAttentionOut},
    {"model.layers.#.pre_ff_layernorm.weight", "blk.#.ffn_norm"},
    {"model.layers.#.feed_forward.gate_proj", "blk.#.ffn_gate", Transform::kCopy, kGate},
    {"model.layers.#.feed_forward.up_proj", "blk.#.ffn_up"},
    {"model.layers.#.feed_forward.down_proj", "blk.#.ffn_down", Transform::kCopy, kDown},
    {"model.final_layernorm", "output_norm"},
    {"lm_head", "output", Transform::kCopy, kHead},
};

constexpr TensorRule kGraniteHybrid[] = {
    {"model.layers.#.self_attn.q_proj", "blk.#.attn_q", Transform::kQueryRows},
    {"model.layers.#.self_attn.k_proj", "blk.#.attn_k", Transform::kKeyRows},
    {"model.layers.#.mamba.in_proj", "blk.#.ssm_in"},
    {"model.layers.#.mamba.conv1d", "blk.#.ssm_conv1d", Transform::kSqueezed},
    {"model.layers.#.mamba.dt_bias", "blk.#.ssm_dt.bias"},
    {"model.layers.#.mamba.A_log", "blk.#.ssm_a", Transform::kNegatedExpColumn},
    {"model.layers.#.mamba.D", "blk.#.ssm_d", Transform::kColumn},
    {"model.layers.#.mamba.norm", "blk.#.ssm_norm", Transform::kGroups},
    {"model.layers.#.mamba.out_proj", "blk.#.ssm_out"},
    {"model.layers.#.block_sparse_moe.router.layer", "blk.#.ffn_gate_inp"},
    {"model.layers.#.block_sparse_moe.input_linear", "blk.#.ffn_gate_exps", Transform::kFirstHalf},
    {"model.layers.#.block_sparse_moe.input_linear", "blk.#.ffn_up_exps", Transform::kSecondHalf},
    {"model.layers.#.block_sparse_moe.output_linear", "blk.#.ffn_down_exps"},
    {"model.layers.#.shared_mlp.input_linear", "blk.#.ffn_gate_shexp", Transform::kFirstHalf},
    {"model.layers.#.shared_mlp.input_linear", "blk.#.ffn_up_shexp", Transform::kSecondHalf},
    {"model.layers.#.shared_mlp.output_linear", "blk.#.ffn_down_shexp"},
};

// Without experts the shared one is the layer's network.
constexpr TensorRule kGraniteDense[] = {
    {"model.layers.#.shared_mlp.input_linear", "blk.#.ffn_gate", Transform::kFirstHalf},
    {"model.layers.#.shared_mlp.input_linear", "blk.#.ffn_up", Transform::kSecondHalf},
    {"model.layers.#.shared_mlp.output_linear", "blk.#.ffn_down"},
};

constexpr TensorRule kNemotronH[] = {
    {"backbone.embeddings", "token_embd"},
    {"backbone.embedding", "token_embd"},
    {"backbone.layers.#.norm", "blk.#.attn_norm"},
    {"backbone.layers.#.mixer.in_proj", "blk.#.ssm_in"},
    {"backbone.layers.#.mixer.conv1d", "blk.#.ssm_conv1d", Transform::kSqueezed},
    {"backbone.layers.#.mixer.dt_bias", "blk.#.ssm_dt.bias"},
    {"backbone.layers.#.mixer.A_log", "blk.#.ssm_a", Transform::kNegatedExpColumn},
    {"backbone.layers.#.mixer.D", "blk.#.ssm_d", Transform::kColumn},
    {"backbone.layers.#.mixer.norm", "blk.#.ssm_norm", Transform::kGroups},
    {"backbone.layers.#.mixer.out_proj", "blk.#.ssm_out"},
    {"backbone.layers.#.mixer.q_proj", "blk.#.attn_q"},
    {"backbone.layers.#.mixer.k_proj", "blk.#.attn_k"},
    {"backbone.layers.#.mixer.v_proj", "blk.#.attn_v"},
    {"backbone.layers.#.mixer.o_proj", "blk.#.attn_output"},
    {"backbone.layers.#.mixer.up_proj", "blk.#.ffn_up"},
    {"backbone.layers.#.mixer.down_proj", "blk.#.ffn_down"},
    {"backbone.layers.#.mixer.gate", "blk.#.ffn_gate_inp"},
    {"backbone.layers.#.mixer.gate.e_score_correction_bias", "blk.#.exp_probs_b.bias"},
    {"backbone.layers.#.mixer.experts.@.up_proj", "blk.#.ffn_up_exps"},
    {"backbone.layers.#.mixer.experts.@.down_proj", "blk.#.ffn_down_exps"},
    {"backbone.layers.#.mixer.experts.up_proj", "blk.#.ffn_up_exps.weight"},
    {"backbone.layers.#.mixer.experts.down_proj", "blk.#.ffn_down_exps.weight"},
    {"backbone.layers.#.mixer.shared_experts.up_proj", "blk.#.ffn_up_shexp"},
    {"backbone.layers.#.mixer.shared_experts.down_proj", "blk.#.ffn_down_shexp"},
    {"backbone.norm_f", "output_norm"},
    {"mtp.*", "", Transform::kNone},  // predicts further tokens
};

constexpr StateSpaceNames kHybridNames = {"mamba_d_conv", "mamba_d_state", "", "mamba_expand"};

absl::StatusOr<std::vector<bool>> every(HubConfig& config, int64_t layers, std::string_view period,
                                        int64_t usual_period, std::string_view offset,
                                        int64_t usual_offset) {
  ASSIGN_OR_RETURN(const int64_t p, config.integer_or(period, 1, 4096, usual_period));
  ASSIGN_OR_RETURN(const int64_t first, config.integer_or(offset, 0, p - 1, usual_offset));
  std::vector<bool> is;
  for (int64_t i = 0; i < layers; ++i) is.push_back(i % p == first);
  return is;
}

absl::Status read_jamba(HubModel& model) {
  HubConfig& config = model.config;
  RETURN_IF_ERROR(config.require("mamba_inner_layernorms", true, "no norms of steps, B and C"));
  RETURN_IF_ERROR(read_state_space(model, kHybridNames, 16));
  RETURN_IF_ERROR(read_step_rank(model, "mamba_dt_rank"));
  ASSIGN_OR_RETURN(
      const std::vector<bool> attention,
      every(config, model.shape.layers, "attn_layer_period", 8, "attn_layer_offset", 4));
  set_attention_layers(model, attention);
  config.pass_over("expert_layer_period|expert_layer_offset");  // the tensors say it too
  ASSIGN_OR_RETURN(const int64_t experts, config.integer_or("num_experts", 1, kHubSizeMax, 16));
  if (experts > 1) return read_experts(model);
  config.pass_over("num_experts_per_tok");
  return absl::OkStatus();
}

absl::StatusOr<double> read_factor(HubModel& model, std::string_view key) {
  return model.config.number_or(key, 1);
}

absl::Status read_falcon_factors(HubModel& model) {
  HubConfig& config = model.config;
  ASSIGN_OR_RETURN(const double embedding, read_factor(model, "embedding_multiplier"));
  ASSIGN_OR_RETURN(const double head, read_factor(model, "lm_head_multiplier"));
  ASSIGN_OR_RETURN(const double attention, read_factor(model, "attention_in_multiplier"));
  ASSIGN_OR_RETURN(const double attention_out, read_factor(model, "attention_out_multiplier"));
  ASSIGN_OR_RETURN(const double key, read_factor(model, "key_multiplier"));
  ASSIGN_OR_RETURN(const double mamba, read_factor(model, "ssm_in_multiplier"));
  ASSIGN_OR_RETURN(const double mamba_out, read_factor(model, "ssm_out_multiplier"));
  ASSIGN_OR_RETURN(std::vector<double> network, config.numbers("mlp_multipliers"));
  ASSIGN_OR_RETURN(std::vector<double> parts, config.numbers("ssm_multipliers"));
  if (network.empty()) network = {1, 1};
  if (parts.empty()) parts = {1, 1, 1, 1, 1};
  if (network.size() != 2) return config.error("mlp_multipliers", "must be two numbers");
  if (parts.size() != 5) return config.error("ssm_multipliers", "must be five numbers");
  std::vector<double> factors(kFalconFactors, 1);
  factors[kQuery] = attention;
  factors[kKey] = attention * key;
  factors[kKeyBias] = key;
  factors[kAttentionOut] = attention_out;
  factors[kMambaOut] = mamba_out;
  factors[kGate] = network[0];
  factors[kDown] = network[1];
  for (size_t i = 0; i < parts.size(); ++i) {
    factors[kMambaIn + i] = mamba * parts[i];
    factors[kMambaInBias + i] = parts[i];
  }
  if (model.tied) {  // one tensor for two factors
    model.keys.number("embedding_scale", embedding);
    model.keys.number("logit_scale", head);
  } else {
    factors[kEmbedding] = embedding;
    factors[kHead] = head;
  }
  model.shape.factors.assign(factors.begin(), factors.end());
  return absl::OkStatus();
}

absl::Status read_falcon_h1(HubModel& model) {
  RETURN_IF_ERROR(model.config.require("mamba_use_mlp", true, "layers without networks"));
  StateSpaceNames names = kHybridNames;
  names.inner = "mamba_d_ssm";
  RETURN_IF_ERROR(read_state_space(model, names, 256));
  RETURN_IF_ERROR(
      read_state_space_heads(model, "mamba_n_heads", "mamba_d_head", "mamba_n_groups", 1));
  RETURN_IF_ERROR(read_step_limits(model));
  ASSIGN_OR_RETURN(const bool norm, model.config.boolean_or("mamba_rms_norm", false));
  ASSIGN_OR_RETURN(const bool first, model.config.boolean_or("mamba_norm_before_gate", true));
  if (norm && first) model.keys.boolean("ssm.norm_before_gate", true);
  return read_falcon_factors(model);
}

// Which layers have attention, where `layer_types` says it.
absl::StatusOr<std::vector<bool>> read_layer_kinds(HubModel& model) {
  HubConfig& config = model.config;
  constexpr std::string_view kTypes = "layer_types|layers_block_type";
  ASSIGN_OR_RETURN(const std::vector<std::string> types, config.strings(kTypes));
  std::vector<bool> attention(static_cast<size_t>(model.shape.layers), false);
  if (types.empty()) return attention;
  if (std::ssize(types) != model.shape.layers) {
    return config.error(
        kTypes, fmt::format("has {} elements for {} layers", types.size(), model.shape.layers));
  }
  for (size_t i = 0; i < types.size(); ++i) {
    attention[i] = types[i] == "attention" || types[i] == "full_attention";
    if (attention[i] || types[i] == "mamba" || types[i] == "linear_attention") continue;
    return config.not_done(kTypes, fmt::format("has '{}', which is not supported for {}",
                                               types[i].substr(0, 40), model.arch.hub));
  }
  return attention;
}

constexpr std::string_view kStateSpaceKeys =
    "mamba_d_conv|mamba_d_state|mamba_expand|mamba_n_heads|mamba_d_head|mamba_n_groups|"
    "time_step_limit";

absl::Status read_granite_scales(HubModel& model) {
  constexpr std::pair<std::string_view, std::string_view> kScales[] = {
      {"attention_multiplier", "attention.scale"},
      {"embedding_multiplier", "embedding_scale"},
      {"residual_multiplier", "residual_scale"},
      {"logits_scaling", "logit_scale"},
  };
  for (const auto& [from, to] : kScales) {
    ASSIGN_OR_RETURN(const double scale, model.config.number_or(from, 1));
    model.keys.number(to, scale);
  }
  return absl::OkStatus();
}

absl::Status read_granite_networks(HubModel& model) {
  HubConfig& config = model.config;
  ASSIGN_OR_RETURN(const int64_t shared,
                   config.integer_or("shared_intermediate_size", 0, kHubSizeMax, 1024));
  ASSIGN_OR_RETURN(const int64_t experts, config.integer_or("num_local_experts", 0, 1 << 16, 8));
  if (experts == 0) {
    model.own_rules = kGraniteDense;
    config.pass_over("num_experts_per_tok");
    model.keys.integer("feed_forward_length", shared);
    return absl::OkStatus();
  }
  model.keys.integer("expert_shared_feed_forward_length", shared);
  return read_experts(model);
}

absl::Status read_granite_hybrid(HubModel& model) {
  HubConfig& config = model.config;
  RETURN_IF_ERROR(read_granite_scales(model));
  model.keys.boolean("rope.scaling.finetuned", config.is_text("position_embedding_type", "rope"));
  ASSIGN_OR_RETURN(const std::vector<bool> attention, read_layer_kinds(model));
  if (std::ranges::find(attention, false) == attention.end()) {
    config.pass_over(kStateSpaceKeys);
    return read_granite_networks(model);
  }
  set_attention_layers(model, attention);
  RETURN_IF_ERROR(read_state_space(model, kHybridNames, 256));
  RETURN_IF_ERROR(
      read_state_space_heads(model, "mamba_n_heads", "mamba_d_head", "mamba_n_groups", 1));
  RETURN_IF_ERROR(read_step_limits(model));
  return read_granite_networks(model);
}

// Models without a state-space unit have the class of those with one.
bool is_attention_alone(HubConfig& config) {
  const auto types = config.strings("layer_types|layers_block_type");
  return types.ok() && !types->empty() && std::ranges::all_of(*types, [](const std::string& type) {
           return type == "attention" || type == "full_attention";
         });
}

bool is_granite(HubConfig& config) {
  const auto experts = config.integer_or("num_local_experts", 0, 1 << 16, 8);
  return is_attention_alone(config) && experts.ok() && *experts == 0;
}

enum class NemotronLayer : uint8_t { kMamba, kAttention, kNetwork, kExperts };

absl::StatusOr<std::vector<NemotronLayer>> read_nemotron_layers(HubConfig& config, int64_t layers) {
  std::vector<NemotronLayer> kinds;
  constexpr std::string_view kTypes = "layers_block_type|layer_types";
  constexpr std::string_view kPattern = "hybrid_override_pattern";
  ASSIGN_OR_RETURN(std::vector<std::string> types, config.strings(kTypes));
  ASSIGN_OR_RETURN(const std::string pattern, config.string_or(kPattern, ""));
  if (types.empty()) {
    for (const char c : pattern) types.emplace_back(1, c);
  }
  for (const std::string& type : types) {
    if (type == "M" || type == "mamba" || type == "linear_attention") {
      kinds.push_back(NemotronLayer::kMamba);
    } else if (type == "*" || type == "attention" || type == "full_attention") {
      kinds.push_back(NemotronLayer::kAttention);
    } else if (type == "-" || type == "mlp") {
      kinds.push_back(NemotronLayer::kNetwork);
    } else if (type == "E" || type == "moe") {
      kinds.push_back(NemotronLayer::kExperts);
    } else {
      return config.not_done(config.has(kTypes) ? kTypes : kPattern,
                             fmt::format("has '{}', which is not supported", type.substr(0, 40)));
    }
  }
  if (std::ssize(kinds) == layers) return kinds;
  return config.error(config.has(kTypes) ? kTypes : kPattern,
                      fmt::format("has {} elements for {} layers", kinds.size(), layers));
}

absl::Status read_nemotron_experts(HubModel& model) {
  HubConfig& config = model.config;
  HubKeys& keys = model.keys;
  if (config.has("moe_latent_size")) {
    return config.not_done("moe_latent_size", "asks for experts of a narrower stream");
  }
  ASSIGN_OR_RETURN(const int64_t experts, config.integer_or("n_routed_experts", 1, 1 << 16, 8));
  ASSIGN_OR_RETURN(const int64_t used, config.integer_or("num_experts_per_tok", 1, experts, 2));
  ASSIGN_OR_RETURN(const int64_t hidden,
                   config.integer_or("moe_intermediate_size", 1, kHubSizeMax, 7688));
  ASSIGN_OR_RETURN(const int64_t shared,
                   config.integer_or("moe_shared_expert_intermediate_size", 1, kHubSizeMax, 7688));
  ASSIGN_OR_RETURN(const int64_t shared_experts, config.integer_or("n_shared_experts", 0, 1024, 1));
  ASSIGN_OR_RETURN(const bool norm, config.boolean_or("norm_topk_prob", true));
  ASSIGN_OR_RETURN(const double scale, config.number_or("routed_scaling_factor", 1));
  ASSIGN_OR_RETURN(const int64_t groups, config.integer_or("n_group", 1, experts, 1));
  ASSIGN_OR_RETURN(const int64_t used_groups, config.integer_or("topk_group", 1, groups, 1));
  keys.integer("expert_count", experts);
  keys.integer("expert_used_count", used);
  keys.integer("expert_feed_forward_length", hidden);
  keys.integer("expert_shared_feed_forward_length", shared);
  keys.integer("expert_shared_count", shared_experts);
  keys.boolean("expert_weights_norm", norm);
  keys.number("expert_weights_scale", scale);
  keys.integer("expert_group_count", groups);
  keys.integer("expert_group_used_count", used_groups);
  return absl::OkStatus();
}

constexpr StateSpaceNames kNemotronNames = {"conv_kernel|mamba_d_conv", "ssm_state_size|state_size",
                                            "", ""};
constexpr std::string_view kExpertKeys =
    "moe_latent_size|n_routed_experts|num_experts_per_tok|moe_intermediate_size|"
    "moe_shared_expert_intermediate_size|n_shared_experts|norm_topk_prob|routed_scaling_factor|"
    "n_group|topk_group";

absl::Status read_nemotron_h(HubModel& model) {
  HubConfig& config = model.config;
  model.tied = false;  // its code has a head of its own, whatever config.json says
  constexpr std::string_view kActivation = "mamba_hidden_act";
  if (config.has(kActivation) && !config.is_text(kActivation, "silu")) {
    return config.not_done(kActivation, "is not 'silu'");
  }
  RETURN_IF_ERROR(read_state_space(model, kNemotronNames, 128));
  ASSIGN_OR_RETURN(const int64_t heads, config.integer_or("mamba_num_heads", 1, kHubSizeMax, 128));
  ASSIGN_OR_RETURN(const int64_t dim, config.integer_or("mamba_head_dim", 1, kHubSizeMax, 64));
  model.shape.inner = heads * dim;
  model.keys.integer("ssm.inner_size", model.shape.inner);
  RETURN_IF_ERROR(read_state_space_heads(model, "mamba_num_heads", "mamba_head_dim",
                                         "n_groups|mamba_n_groups", 8));
  ASSIGN_OR_RETURN(const double smallest, config.number_or("time_step_min|mamba_dt_min", 0.001));
  set_step_limits(model, smallest, 1e308);
  ASSIGN_OR_RETURN(const auto kinds, read_nemotron_layers(config, model.shape.layers));
  ASSIGN_OR_RETURN(const int64_t hidden,
                   config.integer_or("intermediate_size", 1, kHubSizeMax, 21504));
  ASSIGN_OR_RETURN(const int64_t expert_hidden,
                   config.integer_or("moe_intermediate_size", 1, kHubSizeMax, 7688));
  std::vector<bool> attention;
  std::vector<int64_t> networks;
  bool has_experts = false;
  for (const NemotronLayer kind : kinds) {
    attention.push_back(kind == NemotronLayer::kAttention);
    has_experts |= kind == NemotronLayer::kExperts;
    networks.push_back(kind == NemotronLayer::kNetwork   ? hidden
                       : kind == NemotronLayer::kExperts ? expert_hidden
                                                         : 0);
  }
  set_attention_layers(model, attention);
  model.keys.integers("feed_forward_length", networks);
  if (has_experts) return read_nemotron_experts(model);
  config.pass_over(kExpertKeys);
  return absl::OkStatus();
}

bool has_nemotron_experts(HubConfig& config) {
  const auto types = config.strings("layers_block_type|layer_types");
  const auto pattern = config.string_or("hybrid_override_pattern", "");
  if (!types.ok() || !pattern.ok()) return false;
  return std::ranges::find(*types, "moe") != types->end() ||
         (types->empty() && pattern->find('E') != std::string::npos);
}

constexpr std::string_view kNemotronIgnored =
    "expand|mamba_expand|chunk_size|mamba_chunk_size|time_step_max|mamba_dt_max|time_step_floor|"
    "mamba_dt_init_floor|time_step_limit|mamba_dt_limit|rescale_prenorm_residual|residual_in_fp32|"
    "use_mamba_kernels|time_step_rank|mamba_ssm_cache_dtype|num_logits_to_keep|moe_shared_expert_"
    "overlap|"
    "mtp_layers_block_type|mtp_hybrid_override_pattern|num_nextn_predict_layers|rms_norm_eps|"
    "rope_theta|partial_rotary_factor";
constexpr std::string_view kNemotronBiases =
    "attention_bias|mlp_bias|use_bias|use_conv_bias|mamba_conv_bias|mamba_proj_bias";

constexpr HubArch granite(std::string_view name, bool (*applies)(HubConfig&)) {
  return {.hub = "GraniteMoeHybridForCausalLM",
          .name = name,
          .applies = applies,
          .context = 2048,
          .window = HubWindow::kOwn,
          .biases = "attention_bias|mamba_conv_bias|mamba_proj_bias|mlp_bias",
          .ignored = "mamba_chunk_size|normalization_function|init_method|attn_layer_indices",
          .read = read_granite_hybrid,
          .rules = kGraniteHybrid};
}

constexpr HubArch nemotron_h(std::string_view name, bool (*applies)(HubConfig&)) {
  return {.hub = "NemotronHForCausalLM",
          .name = name,
          .applies = applies,
          .activation = "relu2",
          .names = {.head_dim = "head_dim|attention_head_dim",
                    .activation = "mlp_hidden_act",
                    .epsilon = "layer_norm_epsilon|norm_eps"},
          .norm = HubNorm::kLayerSaidAsRms,
          .epsilon = 1e-5,
          .context = 4096,
          .head_dim = 128,
          .rope = {.base = 0},
          .window = HubWindow::kOwn,
          .biases = kNemotronBiases,
          .ignored = kNemotronIgnored,
          .read = read_nemotron_h,
          .rules = kNemotronH};
}

constexpr HubArch kHybridArchs[] = {
    {.hub = "JambaForCausalLM",
     .name = "jamba",
     .context = 262144,
     .rope = {.base = 0},
     .window = HubWindow::kOwn,
     .biases = "mamba_conv_bias|mamba_proj_bias",
     .ignored = "use_mamba_kernels|use_mambapy|use_associative_scan|num_logits_to_keep|"
                "calc_logits_for_entire_prompt|"
                "n_ctx|layers_block_type|layer_types|layers_num_experts",
     .read = read_jamba,
     .rules = kJamba},
    {.hub = "FalconH1ForCausalLM",
     .name = "falcon-h1",
     .epsilon = 1e-5,
     .context = 8192,
     .window = HubWindow::kOwn,
     .biases = "attention_bias|mlp_bias|projectors_bias|mamba_proj_bias|mamba_conv_bias",
     .ignored = "mamba_chunk_size|num_logits_to_keep|mlp_expansion_factor|layers_block_type|"
                "layer_types",
     .read = read_falcon_h1,
     .rules = kFalconH1},
    granite("granite", is_granite),
    granite("granitemoe", is_attention_alone),
    granite("granitehybrid", nullptr),
    nemotron_h("nemotron_h_moe", has_nemotron_experts),
    nemotron_h("nemotron_h", nullptr),
};

}  // namespace

std::span<const HubArch> hybrid_archs() { return kHybridArchs; }

}  // namespace millrace
