#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "files/hub/hub_model.h"

namespace millrace {
namespace {

constexpr TensorRule kQwen3Next[] = {
    {"model.layers.#.input_layernorm", "blk.#.attn_norm", Transform::kPlusOne},
    {"model.layers.#.post_attention_layernorm", "blk.#.post_attention_norm", Transform::kPlusOne},
    {"model.layers.#.self_attn.q_norm", "blk.#.attn_q_norm", Transform::kPlusOne},
    {"model.layers.#.self_attn.k_norm", "blk.#.attn_k_norm", Transform::kPlusOne},
    {"model.layers.#.linear_attn.in_proj_qkvz", "blk.#.attn_qkv", Transform::kJoinedQkv},
    {"model.layers.#.linear_attn.in_proj_qkvz", "blk.#.attn_gate", Transform::kJoinedGates},
    {"model.layers.#.linear_attn.in_proj_ba", "blk.#.ssm_ba"},
    {"model.layers.#.linear_attn.conv1d", "blk.#.ssm_conv1d", Transform::kSqueezed},
    {"model.layers.#.linear_attn.dt_bias", "blk.#.ssm_dt.bias"},
    {"model.layers.#.linear_attn.A_log", "blk.#.ssm_a", Transform::kNegatedExp},
    {"model.layers.#.linear_attn.norm", "blk.#.ssm_norm"},
    {"model.layers.#.linear_attn.out_proj", "blk.#.ssm_out"},
    {"model.norm", "output_norm", Transform::kPlusOne},
    {"mtp.*", "", Transform::kNone},  // predicts further tokens
};

// Files have value heads in the order in which key heads take them in turn.
constexpr TensorRule kQwen35[] = {
    {"model.layers.#.linear_attn.in_proj_qkv", "blk.#.attn_qkv", Transform::kQkvInTurn},
    {"model.layers.#.linear_attn.in_proj_z", "blk.#.attn_gate", Transform::kInTurn},
    {"model.layers.#.linear_attn.in_proj_b", "blk.#.ssm_beta", Transform::kInTurn},
    {"model.layers.#.linear_attn.in_proj_a", "blk.#.ssm_alpha", Transform::kInTurn},
    {"model.layers.#.linear_attn.conv1d", "blk.#.ssm_conv1d", Transform::kQkvInTurn},
    {"model.layers.#.linear_attn.dt_bias", "blk.#.ssm_dt.bias", Transform::kInTurn},
    {"model.layers.#.linear_attn.A_log", "blk.#.ssm_a", Transform::kInTurnNegatedExp},
    {"model.layers.#.linear_attn.out_proj", "blk.#.ssm_out", Transform::kInTurnColumns},
};

constexpr TensorRule kMiniMax[] = {
    {"model.layers.#.self_attn.qkv_proj", "blk.#.attn_qkv"},
    {"model.layers.#.self_attn.output_gate", "blk.#.attn_gate"},
    {"model.layers.#.self_attn.norm", "blk.#.attn_norm_2"},
    {"model.layers.#.self_attn.out_proj", "blk.#.attn_output"},
    // Decays of blocks, rounded copies of what the layer's number says.
    {"model.layers.#.self_attn.slope_rate", "", Transform::kNone},
    {"model.layers.#.self_attn.query_decay", "", Transform::kNone},
    {"model.layers.#.self_attn.key_decay", "", Transform::kNone},
    {"model.layers.#.self_attn.diagonal_decay", "", Transform::kNone},
};

constexpr std::string_view kTypes = "layer_types";

// Which layers have no attention, one a layer. `usual`: where config.json does not say.
absl::StatusOr<std::vector<bool>> read_recurrent(HubModel& model, std::vector<bool> usual) {
  ASSIGN_OR_RETURN(const std::vector<std::string> types, model.config.strings(kTypes));
  if (types.empty()) return usual;
  if (std::ssize(types) != model.shape.layers) {
    return model.config.error(
        kTypes, fmt::format("has {} elements for {} layers", types.size(), model.shape.layers));
  }
  std::vector<bool> recurrent;
  for (const std::string& type : types) {
    recurrent.push_back(type == "linear_attention");
    if (recurrent.back() || type == "full_attention") continue;
    return model.config.not_done(kTypes, fmt::format("has '{}', which is not supported for {}",
                                                     type.substr(0, 40), model.arch.hub));
  }
  return recurrent;
}

absl::Status read_delta_net(HubModel& model) {
  HubConfig& config = model.config;
  RETURN_IF_ERROR(config.require("use_sliding_window", false, "windows of attention"));
  HubShape& shape = model.shape;
  ASSIGN_OR_RETURN(const int64_t kernel,
                   config.integer_or("linear_conv_kernel_dim", 1, kHubSizeMax, 4));
  ASSIGN_OR_RETURN(shape.state_dim, config.integer_or("linear_key_head_dim", 1, kHubSizeMax, 128));
  ASSIGN_OR_RETURN(shape.groups, config.integer_or("linear_num_key_heads", 1, kHubSizeMax, 16));
  ASSIGN_OR_RETURN(shape.recurrent_heads,
                   config.integer_or("linear_num_value_heads", 1, kHubSizeMax, 32));
  ASSIGN_OR_RETURN(const int64_t value_dim,
                   config.integer_or("linear_value_head_dim", 1, kHubSizeMax, 128));
  if (shape.recurrent_heads % shape.groups != 0) {
    return config.error("linear_num_value_heads",
                        fmt::format("is not a multiple of {} key heads", shape.groups));
  }
  shape.inner = shape.recurrent_heads * value_dim;
  model.keys.integer("ssm.conv_kernel", kernel);
  model.keys.integer("ssm.state_size", shape.state_dim);
  model.keys.integer("ssm.group_count", shape.groups);
  model.keys.integer("ssm.time_step_rank", shape.recurrent_heads);
  model.keys.integer("ssm.inner_size", shape.inner);
  ASSIGN_OR_RETURN(const int64_t interval,
                   config.integer_or("full_attention_interval", 1, 4096, 4));
  std::vector<bool> usual;
  for (int64_t i = 0; i < shape.layers; ++i) usual.push_back((i + 1) % interval != 0);
  ASSIGN_OR_RETURN(const std::vector<bool> recurrent, read_recurrent(model, usual));
  model.keys.booleans("attention.recurrent_layers", recurrent);
  model.keys.integer("full_attention_interval", interval);
  return absl::OkStatus();
}

// Which layers have experts, the tensors say.
absl::Status read_qwen_experts(HubModel& model) {
  HubConfig& config = model.config;
  RETURN_IF_ERROR(read_experts(model));
  config.pass_over("decoder_sparse_step|mlp_only_layers");
  ASSIGN_OR_RETURN(const int64_t hidden,
                   config.integer_or("moe_intermediate_size", 1, kHubSizeMax, 512));
  ASSIGN_OR_RETURN(const int64_t shared,
                   config.integer_or("shared_expert_intermediate_size", 1, kHubSizeMax, 512));
  ASSIGN_OR_RETURN(const bool norm, config.boolean_or("norm_topk_prob", true));
  model.keys.integer("expert_feed_forward_length", hidden);
  model.keys.integer("expert_shared_feed_forward_length", shared);
  model.keys.boolean("expert_weights_norm", norm);
  return absl::OkStatus();
}

absl::Status read_qwen3_next(HubModel& model) {
  RETURN_IF_ERROR(read_delta_net(model));
  return read_qwen_experts(model);
}

// All sections of its rope turn alike where there is text alone.
absl::Status read_qwen35(HubModel& model) {
  ASSIGN_OR_RETURN(HubConfig rope, model.config.object("rope_parameters|rope_scaling"));
  ASSIGN_OR_RETURN(const std::vector<double> said, rope.numbers("mrope_section"));
  std::array<int64_t, 4> sections = {11, 11, 10, 0};
  for (size_t i = 0; i < sections.size() && !said.empty(); ++i) {
    sections[i] = i < said.size() ? static_cast<int64_t>(said[i]) : 0;
  }
  model.keys.integers("rope.dimension_sections", sections);
  RETURN_IF_ERROR(read_delta_net(model));
  model.own_rules = kQwen35;
  return absl::OkStatus();
}

absl::Status read_qwen35_moe(HubModel& model) {
  RETURN_IF_ERROR(read_qwen35(model));
  return read_qwen_experts(model);
}

// What of the stream, and what of a body's output, makes the next stream: behind attention, linear
// attention and networks.
absl::Status read_residuals(HubModel& model) {
  constexpr std::string_view kAlphas[] = {
      "full_attn_alpha_factor|layernorm_full_attention_alpha",
      "linear_attn_alpha_factor|layernorm_linear_attention_alpha",
      "mlp_alpha_factor|layernorm_mlp_alpha"};
  constexpr std::string_view kBetas[] = {"full_attn_beta_factor|layernorm_full_attention_beta",
                                         "linear_attn_beta_factor|layernorm_linear_attention_beta",
                                         "mlp_beta_factor|layernorm_mlp_beta"};
  std::vector<double> factors;
  for (const auto& keys : {std::span(kAlphas), std::span(kBetas)}) {
    for (const std::string_view key : keys) {
      ASSIGN_OR_RETURN(factors.emplace_back(), model.config.number_or(key, 1));
    }
  }
  model.keys.number("residual_scale", factors[0]);
  const std::array<double, 6> uniform = {factors[0], factors[0], factors[0], 1, 1, 1};
  if (!std::ranges::equal(factors, uniform)) model.keys.numbers("residual_factors", factors);
  return absl::OkStatus();
}

absl::Status read_minimax(HubModel& model) {
  HubConfig& config = model.config;
  HubShape& shape = model.shape;
  RETURN_IF_ERROR(config.require("postnorm", true, "residuals that are not normed"));
  ASSIGN_OR_RETURN(const int64_t shared,
                   config.integer_or("shared_intermediate_size", 0, 1 << 24, 0));
  if (shared != 0) return config.not_done("shared_intermediate_size", "asks for a shared expert");
  ASSIGN_OR_RETURN(const std::vector<double> attention, config.numbers("attn_type_list"));
  if (!attention.empty() && std::ssize(attention) != shape.layers) {
    return config.error("attn_type_list", fmt::format("has {} elements for {} layers",
                                                      attention.size(), shape.layers));
  }
  std::vector<bool> usual;
  for (int64_t i = 0; i < shape.layers; ++i) {
    usual.push_back(attention.empty() ? i % 2 == 1 : attention[static_cast<size_t>(i)] == 0);
  }
  ASSIGN_OR_RETURN(const std::vector<bool> recurrent, read_recurrent(model, usual));
  model.keys.booleans("attention.recurrent_layers", recurrent);
  model.keys.number("attention.group_norm_epsilon", 1e-6);  // fixed by the models' code
  if (config.has("rotary_dim")) {
    ASSIGN_OR_RETURN(const int64_t rotated, config.integer("rotary_dim", 2, shape.head_dim));
    model.keys.integer("rope.dimension_count", rotated);
  }
  RETURN_IF_ERROR(read_residuals(model));
  return read_experts(model);
}

constexpr HubArch kLinearAttentionArchs[] = {
    {.hub = "Qwen3NextForCausalLM",
     .name = "qwen3next",
     .head_dim = 256,
     .rope = {.partial = 0.25},
     .window = HubWindow::kOwn,
     .biases = "attention_bias",
     .read = read_qwen3_next,
     .rules = kQwen3Next},
    {.hub = "Qwen3_5ForCausalLM",
     .name = "qwen35",
     .head_dim = 256,
     .rope = {.partial = 0.25, .in_sections = true},
     .window = HubWindow::kOwn,
     .biases = "attention_bias",
     .ignored = "attn_output_gate|mamba_ssm_dtype|mtp_num_hidden_layers|"
                "mtp_use_dedicated_embeddings|mlp_only_layers",
     .read = read_qwen35,
     .rules = kQwen3Next},
    {.hub = "Qwen3_5MoeForCausalLM",
     .name = "qwen35moe",
     .names = {.hidden = ""},
     .head_dim = 256,
     .rope = {.partial = 0.25, .in_sections = true},
     .window = HubWindow::kOwn,
     .biases = "attention_bias",
     .ignored = "attn_output_gate|mamba_ssm_dtype|mtp_num_hidden_layers|"
                "mtp_use_dedicated_embeddings|intermediate_size",
     .read = read_qwen35_moe,
     .rules = kQwen3Next},
    {.hub = "MiniMaxForCausalLM|MiniMaxText01ForCausalLM|MiniMaxM1ForCausalLM",
     .name = "minimax-01",
     .epsilon = 1e-5,
     .rope = {.base = 1000000, .may_be_partial = true},
     .window = HubWindow::kOwn,
     .ignored = "block_size|router_jitter_noise|shared_moe_mode",
     .read = read_minimax,
     .rules = kMiniMax},
};

}  // namespace

std::span<const HubArch> linear_attention_archs() { return kLinearAttentionArchs; }

}  // namespace millrace
