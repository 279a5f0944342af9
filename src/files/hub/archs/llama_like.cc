#include <cmath>

#include "files/hub/hub_model.h"

namespace millrace {
namespace {

constexpr TensorRule kNeighboursRotate[] = {
    {"model.layers.#.self_attn.q_proj", "blk.#.attn_q", Transform::kQueryRows},
    {"model.layers.#.self_attn.k_proj", "blk.#.attn_k", Transform::kKeyRows},
};

constexpr TensorRule kPostNorms[] = {
    {"model.layers.#.post_attention_layernorm", "blk.#.post_attention_norm"},
    {"model.layers.#.post_feedforward_layernorm", "blk.#.post_ffw_norm"},
};

constexpr TensorRule kGemma1[] = {
    {"model.layers.#.input_layernorm", "blk.#.attn_norm", Transform::kPlusOne},
    {"model.layers.#.post_attention_layernorm", "blk.#.ffn_norm", Transform::kPlusOne},
    {"model.norm", "output_norm", Transform::kPlusOne},
};

constexpr TensorRule kGemma[] = {
    {"model.layers.#.input_layernorm", "blk.#.attn_norm", Transform::kPlusOne},
    {"model.layers.#.post_attention_layernorm", "blk.#.post_attention_norm", Transform::kPlusOne},
    {"model.layers.#.pre_feedforward_layernorm", "blk.#.ffn_norm", Transform::kPlusOne},
    {"model.layers.#.post_feedforward_layernorm", "blk.#.post_ffw_norm", Transform::kPlusOne},
    {"model.layers.#.self_attn.q_norm", "blk.#.attn_q_norm", Transform::kPlusOne},
    {"model.layers.#.self_attn.k_norm", "blk.#.attn_k_norm", Transform::kPlusOne},
    {"model.norm", "output_norm", Transform::kPlusOne},
};

constexpr TensorRule kGlm4[] = {
    {"model.layers.#.post_self_attn_layernorm", "blk.#.post_attention_norm"},
    {"model.layers.#.post_mlp_layernorm", "blk.#.post_ffw_norm"},
    {"model.layers.#.mlp.gate_up_proj", "blk.#.ffn_up"},
};

constexpr TensorRule kPhi3[] = {
    {"model.layers.#.self_attn.qkv_proj", "blk.#.attn_qkv"},
    {"model.layers.#.mlp.gate_up_proj", "blk.#.ffn_up"},
};

constexpr TensorRule kStarcoder2[] = {
    {"model.layers.#.mlp.c_fc", "blk.#.ffn_up"},
    {"model.layers.#.mlp.c_proj", "blk.#.ffn_down"},
};

constexpr TensorRule kStableLm[] = {
    {"model.layers.#.self_attn.q_layernorm.norms.@", "blk.#.attn_q_norm"},
    {"model.layers.#.self_attn.k_layernorm.norms.@", "blk.#.attn_k_norm"},
};

constexpr TensorRule kApertus[] = {
    {"model.layers.#.attention_layernorm", "blk.#.attn_norm"},
    {"model.layers.#.feedforward_layernorm", "blk.#.ffn_norm"},
    {"model.layers.#.mlp.act_fn.alpha_p", "", Transform::kNone},
    {"model.layers.#.mlp.act_fn.alpha_n", "", Transform::kNone},
    {"model.layers.#.mlp.act_fn.beta", "", Transform::kNone},
    {"model.layers.#.mlp.act_fn.eps", "", Transform::kNone},
};

constexpr TensorRule kHunyuan[] = {
    {"model.layers.#.self_attn.query_layernorm", "blk.#.attn_q_norm"},
    {"model.layers.#.self_attn.key_layernorm", "blk.#.attn_k_norm"},
};

constexpr TensorRule kNemotron[] = {
    {"model.layers.#.input_layernorm.weight", "blk.#.attn_norm.weight", Transform::kPlusOne},
    {"model.layers.#.post_attention_layernorm.weight", "blk.#.ffn_norm.weight",
     Transform::kPlusOne},
    {"model.norm.weight", "output_norm.weight", Transform::kPlusOne},
};

constexpr TensorRule kBitNet[] = {
    {"model.layers.#.self_attn.attn_sub_norm", "blk.#.attn_sub_norm"},
    {"model.layers.#.mlp.ffn_sub_norm", "blk.#.ffn_sub_norm"},
};

absl::Status read_gemma(HubModel& model) {
  HubConfig& config = model.config;
  RETURN_IF_ERROR(
      config.require("use_bidirectional_attention", false, "attention that is not causal"));
  ASSIGN_OR_RETURN(const double scalar, config.number_or("query_pre_attn_scalar", 256));
  if (!(scalar > 0)) return config.error("query_pre_attn_scalar", "must be positive");
  model.keys.number("attention.scale", 1 / std::sqrt(scalar));
  const bool is_gemma2 = model.arch.name == "gemma2";
  for (const char* const key : {"attn_logit_softcapping", "final_logit_softcapping"}) {
    if (!config.has(key)) continue;
    ASSIGN_OR_RETURN(const double cap, config.number(key));
    if (!is_gemma2 && std::string_view(key) == "attn_logit_softcapping") {
      return config.not_done(key, "is not null: not supported for Gemma3ForCausalLM");
    }
    model.keys.number(key, cap);
  }
  return absl::OkStatus();
}

absl::Status read_phi3(HubModel& model) {
  constexpr int64_t kMax = 1 << 30;
  ASSIGN_OR_RETURN(const int64_t window, model.config.integer_or("sliding_window", 0, kMax, 0));
  ASSIGN_OR_RETURN(HubConfig rope, model.config.object("rope_parameters|rope_scaling"));
  constexpr std::string_view kOriginal = "original_max_position_embeddings";
  ASSIGN_OR_RETURN(int64_t original, model.config.integer_or(kOriginal, 1, kMax, model.context));
  ASSIGN_OR_RETURN(original, rope.integer_or(kOriginal, 1, kMax, original));
  model.keys.integer("attention.sliding_window", window);
  model.keys.integer("rope.scaling.original_context_length", original);
  return absl::OkStatus();
}

absl::Status read_smollm3(HubModel& model) {
  ASSIGN_OR_RETURN(const std::vector<double> said, model.config.numbers("no_rope_layers"));
  ASSIGN_OR_RETURN(const int64_t interval,
                   model.config.integer_or("no_rope_layer_interval", 1, 4096, 4));
  std::vector<bool> has_rope(said.begin(), said.end());
  if (said.empty()) {
    for (int64_t i = 0; i < model.shape.layers; ++i) has_rope.push_back((i + 1) % interval != 0);
  }
  if (std::ssize(has_rope) != model.shape.layers) {
    return model.config.error("no_rope_layers", fmt::format("has {} elements for {} layers",
                                                            said.size(), model.shape.layers));
  }
  model.keys.booleans("attention.rope_pattern", has_rope);
  return absl::OkStatus();
}

absl::Status read_ministral3(HubModel& model) {
  ASSIGN_OR_RETURN(HubConfig rope, model.config.object("rope_parameters|rope_scaling"));
  ASSIGN_OR_RETURN(const double beta, rope.number_or("llama_4_scaling_beta", 0));
  if (beta != 0) model.keys.number("attention.temperature_scale", beta);
  return absl::OkStatus();
}

// Converters of these say of a rope without scaling that it has none.
absl::Status read_unscaled(HubModel& model, std::string_view kind) {
  ASSIGN_OR_RETURN(HubConfig rope, model.config.object("rope_parameters|rope_scaling"));
  ASSIGN_OR_RETURN(const std::string type, rope.string_or("rope_type|type", "default"));
  if (type == "default") model.keys.text("rope.scaling.type", kind);
  return absl::OkStatus();
}

absl::Status read_hunyuan(HubModel& model) {
  RETURN_IF_ERROR(model.config.require("use_rotary_pos_emb", true, "attention without rope"));
  return model.config.require("use_cla", false, "keys and values shared between layers");
}

absl::Status read_nemotron(HubModel& model) { return read_unscaled(model, "none"); }
absl::Status read_bitnet(HubModel& model) { return read_unscaled(model, "linear"); }

absl::Status read_cohere(HubModel& model) {
  ASSIGN_OR_RETURN(const double scale, model.config.number_or("logit_scale", 0.0625));
  model.keys.number("logit_scale", scale);
  return read_unscaled(model, "none");
}

absl::Status read_stablelm(HubModel& model) {
  ASSIGN_OR_RETURN(const bool parallel, model.config.boolean_or("use_parallel_residual", false));
  model.keys.boolean("use_parallel_residual", parallel);
  return absl::OkStatus();
}

absl::Status read_apertus(HubModel& model) {
  for (const char* const name : {"alpha_p", "alpha_n", "beta", "eps"}) {
    std::vector<double> values;
    for (int64_t i = 0; i < model.shape.layers; ++i) {
      ASSIGN_OR_RETURN(values.emplace_back(),
                       model.scalar(fmt::format("model.layers.{}.mlp.act_fn.{}", i, name)));
    }
    model.keys.plain_numbers(fmt::format("xielu.{}", name), values);
  }
  return absl::OkStatus();
}

constexpr HubNames kLayerNorms = {.epsilon = "layer_norm_eps"};
constexpr std::string_view kRmsIgnored = "rms_norm_eps";

constexpr HubArch kLlamaLikeArchs[] = {
    {.hub = "LlamaForCausalLM",
     .name = "llama",
     .biases = "attention_bias|mlp_bias",
     .ignored = "is_llama_config",
     .rules = kNeighboursRotate},
    {.hub = "MistralForCausalLM",
     .name = "llama",
     .window = HubWindow::kUniform,
     .rules = kNeighboursRotate},
    {.hub = "Qwen2ForCausalLM",
     .name = "qwen2",
     .window = HubWindow::kSwitched,
     .biases = "attention_bias"},
    {.hub = "Qwen3ForCausalLM",
     .name = "qwen3",
     .head_dim = 128,
     .window = HubWindow::kSwitched,
     .biases = "attention_bias"},
    {.hub = "GemmaForCausalLM",
     .name = "gemma",
     .activation = "gelu_pytorch_tanh|gelu_new|gelu_fast",
     .names = {.activation = "hidden_activation|hidden_act"},
     .tied = true,
     .head_dim = 256,
     .biases = "attention_bias",
     .rules = kGemma1},
    {.hub = "Gemma2ForCausalLM",
     .name = "gemma2",
     .activation = "gelu_pytorch_tanh|gelu_new|gelu_fast",
     .names = {.activation = "hidden_activation|hidden_act"},
     .tied = true,
     .head_dim = 256,
     .window = HubWindow::kByLayer,
     .window_period = 2,
     .biases = "attention_bias",
     .ignored = "sliding_window_size",
     .read = read_gemma,
     .rules = kGemma},
    {.hub = "Gemma3ForCausalLM",
     .name = "gemma3",
     .activation = "gelu_pytorch_tanh|gelu_new|gelu_fast",
     .names = {.activation = "hidden_activation|hidden_act"},
     .tied = true,
     .head_dim = 256,
     .rope = {.base = 1000000, .windowed_base = 10000},
     .window = HubWindow::kByLayer,
     .window_period = 6,
     .biases = "attention_bias",
     .read = read_gemma,
     .rules = kGemma},
    {.hub = "Phi3ForCausalLM",
     .name = "phi3",
     .epsilon = 1e-5,
     .rope = {.may_be_partial = true},
     .window = HubWindow::kOwn,
     .biases = "attention_bias|mlp_bias|lm_head_bias",
     .ignored = "interpolate_factor|full_attn_mod",
     .read = read_phi3,
     .rules = kPhi3},
    {.hub = "SmolLM3ForCausalLM",
     .name = "smollm3",
     .tied = true,
     .rope = {.base = 2000000},
     .window = HubWindow::kSwitched,
     .biases = "attention_bias|mlp_bias",
     .read = read_smollm3,
     .rules = kNeighboursRotate},
    {.hub = "Ministral3ForCausalLM",
     .name = "mistral3",
     .epsilon = 1e-5,
     .head_dim = 128,
     .rope = {.base = 1000000},
     .window = HubWindow::kUniform,
     .read = read_ministral3,
     .rules = kNeighboursRotate},
    {.hub = "Olmo2ForCausalLM",
     .name = "olmo2",
     .epsilon = 1e-5,
     .biases = "attention_bias",
     .rules = kPostNorms},
    {.hub = "Olmo3ForCausalLM",
     .name = "olmo2",
     .epsilon = 1e-5,
     .rope = {.base = 500000, .windowed_base = 500000},
     .window = HubWindow::kByLayer,
     .window_period = 4,
     .biases = "attention_bias",
     .rules = kPostNorms},
    {.hub = "Exaone4ForCausalLM",
     .name = "exaone4",
     .epsilon = 1e-5,
     .window = HubWindow::kByLayer,
     .window_period = 4,
     .rules = kPostNorms},
    {.hub = "Glm4ForCausalLM",
     .name = "glm4",
     .epsilon = 1.5625e-07,
     .head_dim = 128,
     .rope = {.partial = 0.5},
     .biases = "attention_bias",
     .rules = kGlm4},
    {.hub = "CohereForCausalLM",
     .name = "command-r",
     .names = {.context = "model_max_length|max_position_embeddings", .epsilon = "layer_norm_eps"},
     .norm = HubNorm::kLayer,
     .epsilon = 1e-5,
     .tied = true,
     .biases = "attention_bias|use_qk_norm",
     .ignored = kRmsIgnored,
     .read = read_cohere},
    {.hub = "Cohere2ForCausalLM",
     .name = "cohere2",
     .names = kLayerNorms,
     .norm = HubNorm::kLayer,
     .epsilon = 1e-5,
     .tied = true,
     .window = HubWindow::kByLayer,
     .window_period = 4,
     .biases = "attention_bias",
     .ignored = "rms_norm_eps|position_embedding_type|order_of_interleaved_layers|layer_switch|"
                "use_embedding_sharing|use_gated_activation|use_parallel_block|"
                "use_parallel_embedding",
     .read = read_cohere},
    {.hub = "Starcoder2ForCausalLM",
     .name = "starcoder2",
     .activation = "gelu_pytorch_tanh|gelu_new|gelu_fast",
     .names = {.epsilon = "norm_epsilon"},
     .norm = HubNorm::kLayer,
     .epsilon = 1e-5,
     .tied = true,
     .window = HubWindow::kUniform,
     .biases = "use_bias",
     .ignored = "rms_norm_eps|mlp_type|norm_type|attention_softmax_in_fp32|"
                "scale_attention_softmax_in_fp32|scale_attn_weights",
     .rules = kStarcoder2},
    {.hub = "StableLmForCausalLM",
     .name = "stablelm",
     .names = {.epsilon = "layer_norm_eps|norm_eps"},
     .norm = HubNorm::kLayer,
     .epsilon = 1e-5,
     .rope = {.partial = 0.25},
     .biases = "use_qkv_bias|qk_layernorm",
     .ignored = kRmsIgnored,
     .read = read_stablelm,
     .rules = kStableLm},
    {.hub = "SeedOssForCausalLM",
     .name = "seed_oss",
     .head_dim = 128,
     .biases = "attention_bias|attention_out_bias|mlp_bias",
     .rules = kPostNorms},
    {.hub = "ArceeForCausalLM",
     .name = "arcee",
     .activation = "relu2",
     .epsilon = 1e-5,
     .biases = "attention_bias|mlp_bias",
     .rules = kNeighboursRotate},
    {.hub = "ApertusForCausalLM",
     .name = "apertus",
     .activation = "xielu",
     .epsilon = 1e-5,
     .rope = {.base = 12000000},
     .biases = "attention_bias|mlp_bias",
     .ignored = "post_norm|qk_norm",
     .read = read_apertus,
     .rules = kApertus},
    {.hub = "HunYuanDenseV1ForCausalLM",
     .name = "hunyuan-dense",
     .epsilon = 1e-5,
     .biases = "attention_bias|mlp_bias|use_qk_norm",
     .ignored = "attention_head_dim|norm_type|enable_lm_head_fp32|add_classification_head|"
                "class_num|dense_list|pool_type|mask_init_id|im_newline_id|text_start_id|"
                "text_end_id|cla_share_factor",
     .read = read_hunyuan,
     .rules = kHunyuan},
    {.hub = "Ernie4_5ForCausalLM|Ernie4_5_ForCausalLM",
     .name = "ernie4_5",
     .epsilon = 1e-5,
     .tied = true,
     .rope = {.base = 500000},
     .biases = "use_bias",
     .ignored = "compression_ratio|fuse_rope|use_flash_attention|use_var_len_flash_attn|"
                "freq_allocation"},
    {.hub = "NemotronForCausalLM",
     .name = "nemotron",
     .activation = "relu2",
     .names = {.epsilon = "norm_eps"},
     .norm = HubNorm::kLayer,
     .epsilon = 1e-5,
     .rope = {.partial = 0.5},
     .biases = "attention_bias|mlp_bias",
     .ignored = kRmsIgnored,
     .read = read_nemotron,
     .rules = kNemotron},
    {.hub = "BitNetForCausalLM|BitnetForCausalLM",
     .name = "bitnet",
     .activation = "relu2",
     .epsilon = 1e-5,
     .rope = {.base = 500000},
     .biases = "attention_bias",
     .read = read_bitnet,
     .rules = kBitNet},
};

}  // namespace

std::span<const HubArch> llama_like_archs() { return kLlamaLikeArchs; }

std::span<const TensorRule> shared_rules() {
  static constexpr TensorRule kRules[] = {
      {"model.embed_tokens", "token_embd"},
      {"model.layers.#.input_layernorm", "blk.#.attn_norm"},
      {"model.layers.#.self_attn.q_proj", "blk.#.attn_q"},
      {"model.layers.#.self_attn.k_proj", "blk.#.attn_k"},
      {"model.layers.#.self_attn.v_proj", "blk.#.attn_v"},
      {"model.layers.#.self_attn.q_norm", "blk.#.attn_q_norm"},
      {"model.layers.#.self_attn.k_norm", "blk.#.attn_k_norm"},
      {"model.layers.#.self_attn.o_proj", "blk.#.attn_output"},
      {"model.layers.#.self_attn.rotary_emb.inv_freq", "", Transform::kNone},
      {"model.layers.#.post_attention_layernorm", "blk.#.ffn_norm"},
      {"model.layers.#.mlp.gate_proj", "blk.#.ffn_gate"},
      {"model.layers.#.mlp.up_proj", "blk.#.ffn_up"},
      {"model.layers.#.mlp.down_proj", "blk.#.ffn_down"},
      {"model.norm", "output_norm"},
      {"lm_head", "output"},
      // Mixtures of experts, as most have them.
      {"model.layers.#.mlp.gate", "blk.#.ffn_gate_inp"},
      {"model.layers.#.mlp.experts.@.gate_proj", "blk.#.ffn_gate_exps"},
      {"model.layers.#.mlp.experts.@.up_proj", "blk.#.ffn_up_exps"},
      {"model.layers.#.mlp.experts.@.down_proj", "blk.#.ffn_down_exps"},
      {"model.layers.#.mlp.experts.gate_up_proj", "blk.#.ffn_gate_exps.weight",
       Transform::kFirstHalf},
      {"model.layers.#.mlp.experts.gate_up_proj", "blk.#.ffn_up_exps.weight",
       Transform::kSecondHalf},
      {"model.layers.#.mlp.experts.down_proj", "blk.#.ffn_down_exps.weight"},
      {"model.layers.#.mlp.shared_expert_gate", "blk.#.ffn_gate_inp_shexp"},
      {"model.layers.#.mlp.shared_expert.gate_proj", "blk.#.ffn_gate_shexp"},
      {"model.layers.#.mlp.shared_expert.up_proj", "blk.#.ffn_up_shexp"},
      {"model.layers.#.mlp.shared_expert.down_proj", "blk.#.ffn_down_shexp"},
      {"model.layers.#.mlp.shared_experts.gate_proj", "blk.#.ffn_gate_shexp"},
      {"model.layers.#.mlp.shared_experts.up_proj", "blk.#.ffn_up_shexp"},
      {"model.layers.#.mlp.shared_experts.down_proj", "blk.#.ffn_down_shexp"},
      {"model.layers.#.block_sparse_moe.gate", "blk.#.ffn_gate_inp"},
      {"model.layers.#.block_sparse_moe.experts.@.w1", "blk.#.ffn_gate_exps"},
      {"model.layers.#.block_sparse_moe.experts.@.w2", "blk.#.ffn_down_exps"},
      {"model.layers.#.block_sparse_moe.experts.@.w3", "blk.#.ffn_up_exps"},
  };
  return kRules;
}

}  // namespace millrace
