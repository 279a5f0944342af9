#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

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
    {"model.layers.#.mlp.gate.e_score_correction_bias", "blk.#.exp_probs_b.bias"},
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
absl::Status read_latent(HubModel& model, int64_t value_usual = 128) {
  HubConfig& config = model.config;
  const int64_t rotated = model.shape.head_dim;
  ASSIGN_OR_RETURN(const int64_t latent, config.integer_or("kv_lora_rank", 1, kHubSizeMax, 512));
  ASSIGN_OR_RETURN(model.shape.plain_dim,
                   config.integer_or("qk_nope_head_dim", 1, kHubSizeMax, 128));
  ASSIGN_OR_RETURN(const int64_t value,
                   config.integer_or("v_head_dim", 1, kHubSizeMax, value_usual));
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

// How many of the first layers have none, where config.json says it: the tensors say it too.
absl::Status read_leading_dense(HubModel& model) {
  constexpr std::string_view kTypes = "mlp_layer_types", kCount = "first_k_dense_replace";
  ASSIGN_OR_RETURN(const std::vector<std::string> types, model.config.strings(kTypes));
  int64_t count = std::ranges::find(types, "sparse") - types.begin();
  ASSIGN_OR_RETURN(const int64_t said, model.config.integer_or(kCount, 0, INT32_MAX, count));
  if (types.empty()) count = std::min(said, model.shape.layers);
  if (!types.empty() || model.config.has(kCount)) {
    model.keys.integer("leading_dense_block_count", count);
  }
  return absl::OkStatus();
}

absl::Status read_deepseek_experts(HubModel& model) {
  HubConfig& config = model.config;
  RETURN_IF_ERROR(read_leading_dense(model));
  ASSIGN_OR_RETURN(const int64_t every, config.integer_or("moe_layer_freq", 1, 4096, 1));
  if (every != 1) return config.not_done("moe_layer_freq", "is not 1: not supported");
  ASSIGN_OR_RETURN(const int64_t count, config.integer("n_routed_experts|num_experts", 1, 1 << 16));
  ASSIGN_OR_RETURN(const int64_t used,
                   config.integer("num_experts_per_tok|num_experts_per_token", 1, count));
  ASSIGN_OR_RETURN(const int64_t hidden, config.integer("moe_intermediate_size", 1, kHubSizeMax));
  ASSIGN_OR_RETURN(const int64_t shared,
                   config.integer_or("n_shared_experts|num_shared_experts", 0, 1024, 1));
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
  ASSIGN_OR_RETURN(const int64_t groups,
                   model.config.integer_or("n_group|num_expert_group", 1, 1 << 16, 1));
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
  RETURN_IF_ERROR(require_text(config, "scoring_func|moe_router_activation_func", "sigmoid"));
  RETURN_IF_ERROR(require_text(config, "topk_method", "noaux_tc"));
  model.keys.integer("expert_gating_func", kSigmoid);
  ASSIGN_OR_RETURN(const bool norm, config.boolean_or("norm_topk_prob|moe_renormalize", true));
  model.keys.boolean("expert_weights_norm", norm);
  return read_expert_groups(model);
}

// Besides those of DeepSeek.
constexpr TensorRule kKimiLinear[] = {
    {"model.layers.#.self_attn.q_conv1d", "blk.#.ssm_conv1d_q"},
    {"model.layers.#.self_attn.k_conv1d", "blk.#.ssm_conv1d_k"},
    {"model.layers.#.self_attn.v_conv1d", "blk.#.ssm_conv1d_v"},
    {"model.layers.#.self_attn.f_a_proj", "blk.#.ssm_f_a"},
    {"model.layers.#.self_attn.f_b_proj", "blk.#.ssm_f_b"},
    {"model.layers.#.self_attn.g_a_proj", "blk.#.ssm_g_a"},
    {"model.layers.#.self_attn.g_b_proj", "blk.#.ssm_g_b"},
    {"model.layers.#.self_attn.b_proj", "blk.#.ssm_beta"},
    {"model.layers.#.self_attn.A_log", "blk.#.ssm_a", Transform::kNegatedExp},
    {"model.layers.#.self_attn.dt_bias", "blk.#.ssm_dt.bias"},
    {"model.layers.#.self_attn.o_norm", "blk.#.ssm_norm"},
    {"model.layers.#.block_sparse_moe.gate.e_score_correction_bias", "blk.#.exp_probs_b.bias"},
    {"model.layers.#.block_sparse_moe.shared_experts.gate_proj", "blk.#.ffn_gate_shexp"},
    {"model.layers.#.block_sparse_moe.shared_experts.up_proj", "blk.#.ffn_up_shexp"},
    {"model.layers.#.block_sparse_moe.shared_experts.down_proj", "blk.#.ffn_down_shexp"},
    // Of layers without experts, as transformers writes them.
    {"model.layers.#.block_sparse_moe.gate_proj", "blk.#.ffn_gate"},
    {"model.layers.#.block_sparse_moe.up_proj", "blk.#.ffn_up"},
    {"model.layers.#.block_sparse_moe.down_proj", "blk.#.ffn_down"},
};

// Numbers of layers from 1 on, or a list with an element for each.
absl::StatusOr<std::vector<bool>> read_attending(HubModel& model, HubConfig& linear) {
  const auto layers = static_cast<size_t>(model.shape.layers);
  std::vector<int> found(layers, 0);  // times it is named
  std::vector<bool> attends(layers);
  for (const auto& [key, attention] :
       {std::pair("full_attn_layers", true), std::pair("kda_layers", false)}) {
    ASSIGN_OR_RETURN(const std::vector<double> numbers, linear.numbers(key));
    for (const double number : numbers) {
      if (!(number >= 1 && number <= static_cast<double>(layers))) {
        return linear.error(key, fmt::format("has {} with {} layers", number, layers));
      }
      const auto layer = static_cast<size_t>(number) - 1;
      ++found[layer];
      attends[layer] = attention;
    }
  }
  constexpr std::string_view kTypes = "layer_types";
  ASSIGN_OR_RETURN(const std::vector<std::string> types, model.config.strings(kTypes));
  if (types.empty()) {
    if (std::ranges::all_of(found, [](int times) { return times == 1; })) return attends;
    return linear.error("full_attn_layers", "and kda_layers do not name each layer once");
  }
  if (types.size() != layers) {
    return model.config.error(kTypes,
                              fmt::format("has {} elements for {} layers", types.size(), layers));
  }
  for (size_t layer = 0; layer < layers; ++layer) {
    attends[layer] = types[layer] == "full_attention";
    if (attends[layer] || types[layer] == "linear_attention") continue;
    return model.config.not_done(kTypes, fmt::format("has '{}', which is not supported for {}",
                                                     types[layer].substr(0, 40), model.arch.hub));
  }
  return attends;
}

absl::Status read_kimi_linear(HubModel& model) {
  HubConfig& config = model.config;
  RETURN_IF_ERROR(read_deepseek3(model));
  RETURN_IF_ERROR(config.require("mla_use_nope", true, "latents that rotate"));
  RETURN_IF_ERROR(config.require("use_grouped_topk", true, "experts without groups"));
  model.keys.integer("rope.dimension_count", model.shape.head_dim);
  ASSIGN_OR_RETURN(HubConfig linear, config.object("linear_attn_config"));
  ASSIGN_OR_RETURN(const std::vector<bool> attends, read_attending(model, linear));
  const auto size = [&](std::string_view own, std::string_view outside,
                        int64_t usual) -> absl::StatusOr<int64_t> {
    ASSIGN_OR_RETURN(usual, config.integer_or(outside, 1, kHubSizeMax, usual));
    return linear.integer_or(own, 1, kHubSizeMax, usual);
  };
  ASSIGN_OR_RETURN(const int64_t heads, size("num_heads", "linear_num_heads", 32));
  ASSIGN_OR_RETURN(const int64_t dim, size("head_dim", "linear_head_dim", 128));
  ASSIGN_OR_RETURN(const int64_t kernel,
                   size("short_conv_kernel_size", "linear_conv_kernel_dim", 4));
  RETURN_IF_ERROR(linear.check_all_read());
  model.keys.integer("kda.head_dim", dim);
  model.keys.integer("ssm.conv_kernel", kernel);
  std::vector<int64_t> all_heads;
  for (const bool attention : attends) all_heads.push_back(attention ? model.shape.heads : heads);
  if (heads != model.shape.heads) model.keys.integers("attention.head_count", all_heads);
  model.shape.kv_heads = 1;
  set_attention_layers(model, attends);
  model.own_rules = kKimiLinear;
  return absl::OkStatus();
}

// As llama.cpp reads them, which keeps keys and values of all heads.
constexpr TensorRule kMiniCpm3[] = {{"model.layers.#.self_attn.kv_b_proj", "blk.#.attn_kv_b"}};

absl::Status read_minicpm3(HubModel& model) {
  HubConfig& config = model.config;
  const HubShape& shape = model.shape;
  const int64_t value_usual = std::max<int64_t>(1, shape.width / shape.heads);
  RETURN_IF_ERROR(read_latent(model, value_usual));
  ASSIGN_OR_RETURN(const int64_t value,
                   config.integer_or("v_head_dim", 1, kHubSizeMax, value_usual));
  model.keys.integer("attention.head_count_kv", shape.heads);
  model.keys.integer("attention.key_length", shape.plain_dim + shape.head_dim);
  model.keys.integer("attention.value_length", value);
  const auto width = static_cast<double>(shape.width);
  const double depth_usual = std::sqrt(static_cast<double>(shape.layers));
  ASSIGN_OR_RETURN(const double embedding, config.number_or("scale_emb", 1));
  ASSIGN_OR_RETURN(const double depth, config.number_or("scale_depth", depth_usual));
  ASSIGN_OR_RETURN(const double base_width, config.number_or("dim_model_base", width));
  model.keys.number("embedding_scale", embedding);
  model.keys.number("residual_scale", depth / depth_usual);
  model.keys.number("logit_scale", base_width / width);
  model.own_rules = kMiniCpm3;
  return absl::OkStatus();
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
     .rope = {.stretches_scores = true},
     .biases = kDeepseekBiases,
     .ignored = kDeepseekIgnored,
     .read = read_deepseek2,
     .rules = kDeepseek},
    {.hub = "DeepseekV3ForCausalLM|Glm4MoeLiteForCausalLM|KimiK2ForCausalLM",
     .name = "deepseek2",
     .names = kDeepseekNames,
     .head_dim = 64,
     .rope = {.stretches_scores = true},
     .biases = kDeepseekBiases,
     .ignored = kDeepseekIgnored,
     .read = read_deepseek3,
     .rules = kDeepseek},
    {.hub = "KimiLinearForCausalLM",
     .name = "kimi-linear",
     .names = {.context = "model_max_length|max_position_embeddings",
               .kv_heads = {},
               .head_dim = "qk_rope_head_dim"},
     .epsilon = 1e-5,
     .head_dim = 64,
     .rope = {.base = 0},
     .window = HubWindow::kOwn,
     .biases = "attention_bias",
     .ignored = "head_dim|qk_head_dim|num_key_value_heads|pretraining_tp|output_router_logits|"
                "rope_theta|rope_scaling|rope_parameters",
     .read = read_kimi_linear,
     .rules = kDeepseek},
    {.hub = "MiniCPM3ForCausalLM",
     .name = "minicpm3",
     .names = kDeepseekNames,
     .epsilon = 1e-5,
     .tied = true,
     .head_dim = 32,
     .rope = {.stretches_scores = true},
     .biases = kDeepseekBiases,
     .ignored = kDeepseekIgnored,
     .read = read_minicpm3,
     .rules = kDeepseek},
};

}  // namespace

std::span<const HubArch> latent_archs() { return kLatentArchs; }

}  // namespace millrace
