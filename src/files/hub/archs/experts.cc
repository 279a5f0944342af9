#include "files/hub/hub_model.h"

namespace millrace {
namespace {

constexpr TensorRule kMixtral[] = {
    {"model.layers.#.self_attn.q_proj", "blk.#.attn_q", Transform::kQueryRows},
    {"model.layers.#.self_attn.k_proj", "blk.#.attn_k", Transform::kKeyRows},
};

constexpr TensorRule kGraniteMoe[] = {
    {"model.layers.#.self_attn.q_proj", "blk.#.attn_q", Transform::kQueryRows},
    {"model.layers.#.self_attn.k_proj", "blk.#.attn_k", Transform::kKeyRows},
    {"model.layers.#.block_sparse_moe.router.layer", "blk.#.ffn_gate_inp"},
    {"model.layers.#.block_sparse_moe.input_linear", "blk.#.ffn_gate_exps", Transform::kFirstHalf},
    {"model.layers.#.block_sparse_moe.input_linear", "blk.#.ffn_up_exps", Transform::kSecondHalf},
    {"model.layers.#.block_sparse_moe.output_linear", "blk.#.ffn_down_exps"},
    {"model.layers.#.shared_mlp.input_linear", "blk.#.ffn_gate_shexp", Transform::kFirstHalf},
    {"model.layers.#.shared_mlp.input_linear", "blk.#.ffn_up_shexp", Transform::kSecondHalf},
    {"model.layers.#.shared_mlp.output_linear", "blk.#.ffn_down_shexp"},
};

constexpr TensorRule kErnieMoe[] = {
    {"model.layers.#.mlp.moe_statics.e_score_correction_bias", "blk.#.exp_probs_b.bias"},
};

constexpr TensorRule kGptOss[] = {
    {"model.layers.#.post_attention_layernorm", "blk.#.post_attention_norm"},
    {"model.layers.#.self_attn.sinks", "blk.#.attn_sinks.weight"},
    {"model.layers.#.mlp.router", "blk.#.ffn_gate_inp"},
    {"model.layers.#.mlp.experts.gate_up_proj", "blk.#.ffn_gate_exps.weight",
     Transform::kSwappedEven},
    {"model.layers.#.mlp.experts.gate_up_proj", "blk.#.ffn_up_exps.weight", Transform::kSwappedOdd},
    {"model.layers.#.mlp.experts.gate_up_proj_bias", "blk.#.ffn_gate_exps.bias", Transform::kEven},
    {"model.layers.#.mlp.experts.gate_up_proj_bias", "blk.#.ffn_up_exps.bias", Transform::kOdd},
    {"model.layers.#.mlp.experts.down_proj", "blk.#.ffn_down_exps.weight", Transform::kSwapped},
    {"model.layers.#.mlp.experts.down_proj_bias", "blk.#.ffn_down_exps.bias"},
    {"model.layers.#.mlp.experts.gate_up_proj_blocks", "blk.#.ffn_gate_exps.weight",
     Transform::kMxfp4EvenRows},
    {"model.layers.#.mlp.experts.gate_up_proj_blocks", "blk.#.ffn_up_exps.weight",
     Transform::kMxfp4OddRows},
    {"model.layers.#.mlp.experts.gate_up_proj_scales", "", Transform::kNone},
    {"model.layers.#.mlp.experts.down_proj_blocks", "blk.#.ffn_down_exps.weight",
     Transform::kMxfp4},
    {"model.layers.#.mlp.experts.down_proj_scales", "", Transform::kNone},
};

constexpr TensorRule kLlama4[] = {
    {"model.layers.#.feed_forward.router", "blk.#.ffn_gate_inp"},
    {"model.layers.#.feed_forward.experts.gate_up_proj", "blk.#.ffn_gate_exps.weight",
     Transform::kSwappedFirstHalf},
    {"model.layers.#.feed_forward.experts.gate_up_proj", "blk.#.ffn_up_exps.weight",
     Transform::kSwappedSecondHalf},
    {"model.layers.#.feed_forward.experts.down_proj", "blk.#.ffn_down_exps.weight",
     Transform::kSwapped},
    {"model.layers.#.feed_forward.shared_expert.gate_proj", "blk.#.ffn_gate_shexp"},
    {"model.layers.#.feed_forward.shared_expert.up_proj", "blk.#.ffn_up_shexp"},
    {"model.layers.#.feed_forward.shared_expert.down_proj", "blk.#.ffn_down_shexp"},
    {"model.layers.#.feed_forward.gate_proj", "blk.#.ffn_gate"},
    {"model.layers.#.feed_forward.up_proj", "blk.#.ffn_up"},
    {"model.layers.#.feed_forward.down_proj", "blk.#.ffn_down"},
};

absl::Status read_size(HubModel& model, std::string_view from, std::string_view to) {
  ASSIGN_OR_RETURN(const int64_t size, model.config.integer(from, 1, kHubSizeMax));
  model.keys.integer(to, size);
  return absl::OkStatus();
}

// Which layers have experts, the tensors say.
absl::Status read_qwen_moe(HubModel& model) {
  RETURN_IF_ERROR(read_experts(model));
  model.config.pass_over("decoder_sparse_step|mlp_only_layers");
  RETURN_IF_ERROR(read_size(model, "moe_intermediate_size", "expert_feed_forward_length"));
  if (model.arch.name == "qwen2moe") {
    RETURN_IF_ERROR(
        read_size(model, "shared_expert_intermediate_size", "expert_shared_feed_forward_length"));
  }
  ASSIGN_OR_RETURN(const bool norm, model.config.boolean_or("norm_topk_prob", false));
  model.keys.boolean("expert_weights_norm", norm);
  return absl::OkStatus();
}

absl::Status read_olmoe(HubModel& model) {
  RETURN_IF_ERROR(read_experts(model));
  ASSIGN_OR_RETURN(const bool norm, model.config.boolean_or("norm_topk_prob", false));
  model.keys.boolean("expert_weights_norm", norm);
  if (!model.config.has("clip_qkv")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const double clip, model.config.number("clip_qkv"));
  model.keys.number("attention.clamp_kqv", clip);
  return absl::OkStatus();
}

absl::Status read_granite(HubModel& model) {
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

absl::Status read_granite_moe(HubModel& model) {
  RETURN_IF_ERROR(read_granite(model));
  RETURN_IF_ERROR(read_experts(model));
  ASSIGN_OR_RETURN(const int64_t shared,
                   model.config.integer_or("shared_intermediate_size", 0, kHubSizeMax, 0));
  if (shared > 0) model.keys.integer("expert_shared_feed_forward_length", shared);
  return absl::OkStatus();
}

absl::Status read_phimoe(HubModel& model) {
  RETURN_IF_ERROR(read_experts(model));
  constexpr double kJitter = 0.01;
  ASSIGN_OR_RETURN(const double jitter, model.config.number_or("router_jitter_noise", kJitter));
  if (jitter == kJitter) return absl::OkStatus();
  return model.config.not_done("router_jitter_noise", "is not 0.01: not supported");
}

absl::Status read_ernie_moe(HubModel& model) {
  HubConfig& config = model.config;
  RETURN_IF_ERROR(read_experts(model));
  RETURN_IF_ERROR(read_size(model, "moe_intermediate_size", "expert_feed_forward_length"));
  ASSIGN_OR_RETURN(const int64_t width, config.integer("moe_intermediate_size", 1, kHubSizeMax));
  ASSIGN_OR_RETURN(const int64_t interval, config.integer_or("moe_layer_interval", 1, 4096, 1));
  ASSIGN_OR_RETURN(const int64_t first, config.integer_or("moe_layer_start_index", 0, 4096, 1));
  ASSIGN_OR_RETURN(const int64_t shared, config.integer_or("moe_num_shared_experts", 0, 1024, 2));
  // Which layers have experts, the tensors say too.
  config.pass_over("moe_layer_end_index|moe_norm_min|moe_capacity|moe_gate|moe_use_aux_free");
  model.keys.integer("interleave_moe_layer_step", interval);
  model.keys.integer("leading_dense_block_count", first);
  model.keys.integer("expert_shared_count", shared);
  if (shared > 0) model.keys.integer("expert_shared_feed_forward_length", shared * width);
  return absl::OkStatus();
}

absl::Status read_gpt_oss(HubModel& model) {
  RETURN_IF_ERROR(read_experts(model));
  RETURN_IF_ERROR(read_size(model, "intermediate_size", "expert_feed_forward_length"));
  constexpr std::pair<std::string_view, double> kFixed[] = {{"swiglu_limit", 7},
                                                            {"swiglu_alpha", 1.702}};
  for (const auto& [key, usual] : kFixed) {
    ASSIGN_OR_RETURN(const double value, model.config.number_or(key, usual));
    if (value != usual) {
      return model.config.not_done(key, fmt::format("is {}: only {} is supported", value, usual));
    }
  }
  return absl::OkStatus();
}

absl::Status read_llama4_attention(HubModel& model) {
  HubConfig& config = model.config;
  ASSIGN_OR_RETURN(const std::vector<bool> chunked, read_windows(model));
  ASSIGN_OR_RETURN(const int64_t chunk, config.integer_or("attention_chunk_size", 0, 1 << 30, 0));
  model.keys.integer("attention.sliding_window", chunk);
  model.keys.booleans("attention.sliding_window_pattern", chunked);
  ASSIGN_OR_RETURN(const std::vector<double> said, config.numbers("no_rope_layers"));
  config.pass_over("no_rope_layer_interval");
  const std::vector<bool> has_rope(said.begin(), said.end());
  if (!said.empty() && std::ssize(said) != model.shape.layers) {
    return config.error("no_rope_layers", fmt::format("has {} elements for {} layers", said.size(),
                                                      model.shape.layers));
  }
  model.keys.booleans("attention.rope_pattern", said.empty() ? chunked : has_rope);
  ASSIGN_OR_RETURN(const bool tunes, config.boolean_or("attn_temperature_tuning", true));
  ASSIGN_OR_RETURN(const double scale, config.number_or("attn_scale", 0.1));
  ASSIGN_OR_RETURN(const int64_t length, config.integer_or("floor_scale", 1, 1 << 30, 8192));
  model.keys.number("attention.temperature_scale", tunes ? scale : 0);
  model.keys.integer("attention.temperature_length", length);
  ASSIGN_OR_RETURN(const bool norms, config.boolean_or("use_qk_norm", true));
  model.keys.boolean("attention.use_qk_norm", norms);
  return absl::OkStatus();
}

absl::Status read_llama4(HubModel& model) {
  RETURN_IF_ERROR(read_llama4_attention(model));
  RETURN_IF_ERROR(read_experts(model));
  RETURN_IF_ERROR(read_size(model, "intermediate_size", "expert_feed_forward_length"));
  ASSIGN_OR_RETURN(const int64_t step,
                   model.config.integer_or("interleave_moe_layer_step", 1, 4096, 1));
  model.keys.integer("interleave_moe_layer_step", step);
  model.config.pass_over("moe_layers");  // which have experts, the tensors say too
  return absl::OkStatus();
}

constexpr HubArch kExpertArchs[] = {
    {.hub = "GraniteForCausalLM",
     .name = "granite",
     .biases = "attention_bias|mlp_bias",
     .read = read_granite,
     .rules = kMixtral},
    {.hub = "MixtralForCausalLM",
     .name = "llama",
     .epsilon = 1e-5,
     .rope = {.base = 1000000},
     .window = HubWindow::kUniform,
     .ignored = "router_jitter_noise",
     .read = read_experts,
     .rules = kMixtral},
    {.hub = "Qwen2MoeForCausalLM",
     .name = "qwen2moe",
     .window = HubWindow::kSwitched,
     .biases = "qkv_bias|attention_bias",
     .read = read_qwen_moe},
    {.hub = "Qwen3MoeForCausalLM",
     .name = "qwen3moe",
     .window = HubWindow::kUniformSwitched,
     .biases = "attention_bias",
     .read = read_qwen_moe},
    {.hub = "OlmoeForCausalLM",
     .name = "olmoe",
     .epsilon = 1e-5,
     .biases = "attention_bias",
     .read = read_olmoe},
    {.hub = "GraniteMoeForCausalLM|GraniteMoeSharedForCausalLM",
     .name = "granitemoe",
     .biases = "attention_bias",
     .read = read_granite_moe,
     .rules = kGraniteMoe},
    {.hub = "PhimoeForCausalLM|PhiMoEForCausalLM",
     .name = "phimoe",
     .norm = HubNorm::kLayerSaidAsRms,
     .epsilon = 1e-5,
     .rope = {.base = 1000000},
     .window = HubWindow::kUniform,
     .biases = "attention_bias|lm_head_bias",
     .ignored = "input_jitter_noise",
     .read = read_phimoe},
    {.hub = "Ernie4_5_MoeForCausalLM",
     .name = "ernie4_5-moe",
     .epsilon = 1e-5,
     .tied = true,
     .rope = {.base = 500000},
     .biases = "use_bias",
     .read = read_ernie_moe,
     .rules = kErnieMoe},
    {.hub = "GptOssForCausalLM",
     .name = "gpt-oss",
     .epsilon = 1e-5,
     .head_dim = 64,
     .rope = {.base = 150000, .truncates = false},
     .window = HubWindow::kByLayer,
     .window_period = 2,
     .biases = "attention_bias",
     .quantisation = "mxfp4",
     .ignored = "initial_context_length",
     .read = read_gpt_oss,
     .rules = kGptOss},
    {.hub = "Llama4ForCausalLM",
     .name = "llama4",
     .names = {.hidden = "intermediate_size_mlp"},
     .epsilon = 1e-5,
     .head_dim = 128,
     .rope = {.base = 500000},
     .window = HubWindow::kOwn,
     .window_period = 4,
     .biases = "attention_bias",
     .ignored = "for_llm_compressor|router_jitter_noise",
     .read = read_llama4,
     .rules = kLlama4},
};

}  // namespace

std::span<const HubArch> expert_archs() { return kExpertArchs; }

}  // namespace millrace
