#include "files/hub/hub_model.h"

namespace millrace {
namespace {

constexpr TensorRule kDeepseek[] = {
    {"model.layers.#.self_attn.q_a_proj", "blk.#.attn_q_a"},
    {"model.layers.#.self_attn.q_a_layernorm", "blk.#.attn_q_a_norm"},
    {"model.layers.#.self_attn.q_b_proj", "blk.#.attn_q_b"},
    {"model.layers.#.self_attn.kv_a_proj_with_mqa", "blk.#.attn_kv_a_mqa"},
    {"model.layers.#.self_attn.kv_a_layernorm", "blk.#.attn_kv_a_norm"},
    {"model.layers.#.self_attn.kv_b_proj", "blk.#.attn_k_b", Transform::kLatentKeys},
    {"model.layers.#.self_attn.kv_b_proj", "blk.#.attn_v_b", Transform::kLatentValues},
    {"model.layers.#.mlp.gate", "blk.#.ffn_gate_inp"},
    {"model.layers.#.mlp.gate.e_score_correction_bias", "blk.#.exp_probs_b.bias"},
    {"model.layers.#.mlp.experts.@.gate_proj", "blk.#.ffn_gate_exps"},
    {"model.layers.#.mlp.experts.@.up_proj", "blk.#.ffn_up_exps"},
    {"model.layers.#.mlp.experts.@.down_proj", "blk.#.ffn_down_exps"},
    {"model.layers.#.mlp.experts.gate_up_proj", "blk.#.ffn_gate_exps.weight",
     Transform::kFirstHalf},
    {"model.layers.#.mlp.experts.gate_up_proj", "blk.#.ffn_up_exps.weight", Transform::kSecondHalf},
    {"model.layers.#.mlp.experts.down_proj", "blk.#.ffn_down_exps.weight"},
    {"model.layers.#.mlp.shared_experts.gate_proj", "blk.#.ffn_gate_shexp"},
    {"model.layers.#.mlp.shared_experts.up_proj", "blk.#.ffn_up_shexp"},
    {"model.layers.#.mlp.shared_experts.down_proj", "blk.#.ffn_down_shexp"},
    // Of layers that predict further ahead.
    {"model.layers.#.eh_proj", "", Transform::kNone},
    {"model.layers.#.enorm", "", Transform::kNone},
    {"model.layers.#.hnorm", "", Transform::kNone},
    {"model.layers.#.embed_tokens", "", Transform::kNone},
    {"model.layers.#.shared_head.norm", "", Transform::kNone},
    {"model.layers.#.shared_head.head", "", Transform::kNone},
};

// Where the rows that rotate together are halves.
constexpr TensorRule kHalves[] = {
    {"model.layers.#.self_attn.q_proj", "blk.#.attn_q", Transform::kTurnedQueryRows},
    {"model.layers.#.self_attn.q_b_proj", "blk.#.attn_q_b", Transform::kTurnedQueryRows},
    {"model.layers.#.self_attn.kv_a_proj_with_mqa", "blk.#.attn_kv_a_mqa",
     Transform::kTurnedKeyRows},
};

// What all heads share is their one key, of which the latent is the value.
absl::Status read_latent(HubModel& model) {
  HubConfig& config = model.config;
  const int64_t rotated = model.shape.head_dim;
  ASSIGN_OR_RETURN(const int64_t latent, config.integer_or("kv_lora_rank", 1, kHubSizeMax, 512));
  ASSIGN_OR_RETURN(model.shape.plain_dim,
                   config.integer_or("qk_nope_head_dim", 1, kHubSizeMax, 128));
  ASSIGN_OR_RETURN(const int64_t value, config.integer_or("v_head_dim", 1, kHubSizeMax, 128));
  if (config.has("q_lora_rank")) {
    ASSIGN_OR_RETURN(const int64_t rank, config.integer("q_lora_rank", 1, kHubSizeMax));
    model.keys.integer("attention.q_lora_rank", rank);
  }
  model.keys.integer("attention.kv_lora_rank", latent);
  model.keys.integer("attention.head_count_kv", 1);
  model.keys.integer("attention.key_length", latent + rotated);
  model.keys.integer("attention.value_length", latent);
  model.keys.integer("attention.key_length_mla", model.shape.plain_dim + rotated);
  model.keys.integer("attention.value_length_mla", value);
  // Not the one of config.json.
  model.keys.number("attention.latent_norm_rms_epsilon", 1e-6);
  ASSIGN_OR_RETURN(const bool neighbours, config.boolean_or("rope_interleave", true));
  if (!neighbours) model.own_rules = kHalves;
  return absl::OkStatus();
}

// The first layers have none.
absl::Status read_deepseek_experts(HubModel& model) {
  HubConfig& config = model.config;
  config.pass_over("first_k_dense_replace|mlp_layer_types");  // the tensors say it too
  ASSIGN_OR_RETURN(const int64_t every, config.integer_or("moe_layer_freq", 1, 4096, 1));
  if (every != 1) return config.not_done("moe_layer_freq", "is not 1: not supported");
  ASSIGN_OR_RETURN(const int64_t count, config.integer("n_routed_experts", 1, 1 << 16));
  ASSIGN_OR_RETURN(const int64_t used, config.integer("num_experts_per_tok", 1, count));
  ASSIGN_OR_RETURN(const int64_t hidden, config.integer("moe_intermediate_size", 1, kHubSizeMax));
  ASSIGN_OR_RETURN(const int64_t shared, config.integer_or("n_shared_experts", 0, 1024, 1));
  ASSIGN_OR_RETURN(const double scale, config.number_or("routed_scaling_factor", 1));
  model.keys.integer("expert_count", count);
  model.keys.integer("expert_used_count", used);
  model.keys.integer("expert_feed_forward_length", hidden);
  model.keys.integer("expert_shared_count", shared);
  if (shared > 0) model.keys.integer("expert_shared_feed_forward_length", shared * hidden);
  model.keys.number("expert_weights_scale", scale);
  ASSIGN_OR_RETURN(model.shape.predictors,
                   config.integer_or("num_nextn_predict_layers|num_mtp_layers", 0, 64, 1));
  return absl::OkStatus();
}

absl::Status read_expert_groups(HubModel& model) {
  ASSIGN_OR_RETURN(const int64_t groups, model.config.integer_or("n_group", 1, 1 << 16, 1));
  ASSIGN_OR_RETURN(const int64_t used, model.config.integer_or("topk_group", 1, groups, groups));
  model.keys.integer("expert_group_count", groups);
  model.keys.integer("expert_group_used_count", used);
  return absl::OkStatus();
}

absl::Status require_text(HubConfig& config, std::string_view key, std::string_view only) {
  ASSIGN_OR_RETURN(const std::string said, config.string_or(key, only));
  if (said == only) return absl::OkStatus();
  return config.not_done(key, fmt::format("is not '{}': not supported", only));
}

constexpr int64_t kSoftmax = 1, kSigmoid = 2;  // as GGUF files number them

absl::Status read_deepseek2(HubModel& model) {
  HubConfig& config = model.config;
  RETURN_IF_ERROR(read_latent(model));
  RETURN_IF_ERROR(read_deepseek_experts(model));
  RETURN_IF_ERROR(require_text(config, "scoring_func", "softmax"));
  RETURN_IF_ERROR(config.require("norm_topk_prob", false, "weights divided by their sum"));
  model.keys.integer("expert_gating_func", kSoftmax);
  ASSIGN_OR_RETURN(const std::string method, config.string_or("topk_method", "greedy"));
  if (method == "group_limited_greedy") return read_expert_groups(model);
  config.pass_over("n_group");
  config.pass_over("topk_group");
  if (method == "greedy") return absl::OkStatus();
  return config.not_done("topk_method", "is not 'greedy' or 'group_limited_greedy'");
}

absl::Status read_deepseek3(HubModel& model) {
  HubConfig& config = model.config;
  RETURN_IF_ERROR(read_latent(model));
  RETURN_IF_ERROR(read_deepseek_experts(model));
  RETURN_IF_ERROR(require_text(config, "scoring_func", "sigmoid"));
  RETURN_IF_ERROR(require_text(config, "topk_method", "noaux_tc"));
  model.keys.integer("expert_gating_func", kSigmoid);
  ASSIGN_OR_RETURN(const bool norm, config.boolean_or("norm_topk_prob", true));
  model.keys.boolean("expert_weights_norm", norm);
  return read_expert_groups(model);
}

constexpr std::string_view kDeepseekBiases = "attention_bias|mlp_bias";
// Of training, or what other keys say too.
constexpr std::string_view kDeepseekIgnored =
    "head_dim|qk_head_dim|num_key_value_heads|ep_size|seq_aux|aux_loss_alpha|pretraining_tp|"
    "output_router_logits";
// The dimensions that rotate are a head's here.
constexpr HubNames kDeepseekNames = {.kv_heads = {}, .head_dim = "qk_rope_head_dim"};

constexpr HubArch kLatentArchs[] = {
    {.hub = "DeepseekV2ForCausalLM",
     .name = "deepseek2",
     .names = kDeepseekNames,
     .head_dim = 64,
     .biases = kDeepseekBiases,
     .ignored = kDeepseekIgnored,
     .read = read_deepseek2,
     .rules = kDeepseek},
    {.hub = "DeepseekV3ForCausalLM|Glm4MoeLiteForCausalLM",
     .name = "deepseek2",
     .names = kDeepseekNames,
     .head_dim = 64,
     .biases = kDeepseekBiases,
     .ignored = kDeepseekIgnored,
     .read = read_deepseek3,
     .rules = kDeepseek},
};

}  // namespace

std::span<const HubArch> latent_archs() { return kLatentArchs; }

}  // namespace millrace
