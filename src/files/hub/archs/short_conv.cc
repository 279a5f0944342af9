#include <algorithm>
#include <string>
#include <vector>

#include "files/hub/hub_model.h"

namespace millrace {
namespace {

constexpr TensorRule kLfm2[] = {
    {"model.embedding_norm", "token_embd_norm"},  // behind the last layer
    {"model.layers.#.operator_norm", "blk.#.attn_norm"},
    {"model.layers.#.ffn_norm", "blk.#.ffn_norm"},
    {"model.layers.#.conv.in_proj", "blk.#.shortconv.in_proj"},
    {"model.layers.#.conv.conv", "blk.#.shortconv.conv", Transform::kSqueezed},
    {"model.layers.#.conv.out_proj", "blk.#.shortconv.out_proj"},
    {"model.layers.#.self_attn.q_layernorm", "blk.#.attn_q_norm"},
    {"model.layers.#.self_attn.k_layernorm", "blk.#.attn_k_norm"},
    {"model.layers.#.self_attn.out_proj", "blk.#.attn_output"},
    {"model.layers.#.feed_forward.w1", "blk.#.ffn_gate"},
    {"model.layers.#.feed_forward.w2", "blk.#.ffn_down"},
    {"model.layers.#.feed_forward.w3", "blk.#.ffn_up"},
    {"model.layers.#.feed_forward.gate", "blk.#.ffn_gate_inp"},
    {"model.layers.#.feed_forward.expert_bias", "blk.#.exp_probs_b.bias"},
    {"model.layers.#.feed_forward.experts.@.w1", "blk.#.ffn_gate_exps"},
    {"model.layers.#.feed_forward.experts.@.w2", "blk.#.ffn_down_exps"},
    {"model.layers.#.feed_forward.experts.@.w3", "blk.#.ffn_up_exps"},
    {"model.layers.#.feed_forward.experts.gate_up_proj", "blk.#.ffn_gate_exps.weight",
     Transform::kFirstHalf},
    {"model.layers.#.feed_forward.experts.gate_up_proj", "blk.#.ffn_up_exps.weight",
     Transform::kSecondHalf},
    {"model.layers.#.feed_forward.experts.down_proj", "blk.#.ffn_down_exps.weight"},
};

constexpr TensorRule kNoBias[] = {
    {"model.layers.#.feed_forward.expert_bias", "", Transform::kNone},
};

constexpr TensorRule kLfm3[] = {
    {"model.embedding_norm", "output_norm"},
    {"model.layers.#.operator_norm", "blk.#.attn_norm"},
    {"model.layers.#.post_operator_norm", "blk.#.post_attention_norm"},
    {"model.layers.#.ffn_norm", "blk.#.ffn_norm"},
    {"model.layers.#.post_ffn_norm", "blk.#.post_ffw_norm"},
    {"model.layers.#.conv.in_proj", "blk.#.shortconv.in_proj"},
    {"model.layers.#.conv.conv", "blk.#.shortconv.conv", Transform::kSqueezed},
    {"model.layers.#.conv.out_proj", "blk.#.shortconv.out_proj"},
    {"model.layers.#.self_attn.gate_proj", "blk.#.attn_gate"},
    {"model.layers.#.self_attn.g_proj", "blk.#.attn_gate"},
    {"model.layers.#.feed_forward.w1", "blk.#.ffn_gate"},
    {"model.layers.#.feed_forward.w2", "blk.#.ffn_down"},
    {"model.layers.#.feed_forward.w3", "blk.#.ffn_up"},
};

constexpr std::string_view kTypes = "layer_types";

// The kind of each layer; empty: config.json does not say.
absl::StatusOr<std::vector<std::string>> read_types(HubModel& model) {
  ASSIGN_OR_RETURN(std::vector<std::string> types, model.config.strings(kTypes));
  if (types.empty() || std::ssize(types) == model.shape.layers) return types;
  return model.config.error(
      kTypes, fmt::format("has {} elements for {} layers", types.size(), model.shape.layers));
}

absl::Status refuse_type(HubModel& model, const std::string& type) {
  return model.config.not_done(kTypes, fmt::format("has '{}', which is not supported for {}",
                                                   type.substr(0, 40), model.arch.hub));
}

absl::Status read_cache(HubModel& model, int64_t usual) {
  ASSIGN_OR_RETURN(const int64_t cache,
                   model.config.integer_or("conv_L_cache", 1, kHubSizeMax, usual));
  model.keys.integer("shortconv.l_cache", cache);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<bool>> read_lfm2_layers(HubModel& model) {
  HubConfig& config = model.config;
  ASSIGN_OR_RETURN(const std::vector<std::string> types, read_types(model));
  ASSIGN_OR_RETURN(const std::vector<double> full, config.numbers("full_attn_idxs"));
  const bool says_nothing = types.empty() && !config.has("full_attn_idxs");
  std::vector<bool> attention(static_cast<size_t>(model.shape.layers), says_nothing);
  for (size_t i = 0; i < types.size(); ++i) {
    attention[i] = types[i] == "full_attention";
    if (!attention[i] && types[i] != "conv") return refuse_type(model, types[i]);
  }
  if (!types.empty()) return attention;
  for (const double index : full) {
    if (!(index >= 0) || !(index < static_cast<double>(model.shape.layers))) {
      return config.error("full_attn_idxs", "names a layer that there is none of");
    }
    attention[static_cast<size_t>(index)] = true;
  }
  return attention;
}

// Two thirds of what is said, times a factor, in whole multiples.
absl::Status read_lfm2_hidden(HubModel& model) {
  HubConfig& config = model.config;
  ASSIGN_OR_RETURN(int64_t hidden,
                   config.integer_or("block_ff_dim|intermediate_size", 1, kHubSizeMax, 12288));
  ASSIGN_OR_RETURN(const bool adjusts, config.boolean_or("block_auto_adjust_ff_dim", true));
  ASSIGN_OR_RETURN(const double factor, config.number_or("block_ffn_dim_multiplier", 1));
  ASSIGN_OR_RETURN(const int64_t multiple,
                   config.integer_or("block_multiple_of", 1, kHubSizeMax, 256));
  if (!(factor > 0 && factor < 1024)) {
    return config.error("block_ffn_dim_multiplier", "must be above 0 and below 1024");
  }
  if (adjusts) {
    hidden = static_cast<int64_t>(factor * static_cast<double>(2 * hidden / 3));
    hidden = (hidden + multiple - 1) / multiple * multiple;
  }
  model.keys.integer("feed_forward_length", hidden);
  return absl::OkStatus();
}

absl::Status read_lfm2(HubModel& model) {
  RETURN_IF_ERROR(read_cache(model, 3));
  ASSIGN_OR_RETURN(const std::vector<bool> attention, read_lfm2_layers(model));
  set_attention_layers(model, attention);
  return read_lfm2_hidden(model);
}

absl::Status read_lfm2_moe(HubModel& model) {
  HubConfig& config = model.config;
  RETURN_IF_ERROR(read_cache(model, 3));
  ASSIGN_OR_RETURN(const std::vector<bool> attention, read_lfm2_layers(model));
  set_attention_layers(model, attention);
  RETURN_IF_ERROR(read_experts(model));
  ASSIGN_OR_RETURN(const int64_t hidden,
                   config.integer_or("moe_intermediate_size", 1, kHubSizeMax, 1792));
  ASSIGN_OR_RETURN(const int64_t dense, config.integer_or("num_dense_layers", 0, 4096, 2));
  ASSIGN_OR_RETURN(const bool norm, config.boolean_or("norm_topk_prob", true));
  ASSIGN_OR_RETURN(const double scale, config.number_or("routed_scaling_factor", 1));
  ASSIGN_OR_RETURN(const bool biased, config.boolean_or("use_expert_bias", true));
  if (!biased) model.own_rules = kNoBias;
  constexpr int64_t kSigmoid = 2;
  model.keys.integer("expert_gating_func", kSigmoid);
  model.keys.integer("expert_feed_forward_length", hidden);
  model.keys.integer("leading_dense_block_count", dense);
  model.keys.boolean("expert_weights_norm", norm);
  model.keys.number("expert_weights_scale", scale);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> read_lfm3_types(HubModel& model) {
  ASSIGN_OR_RETURN(std::vector<std::string> types, read_types(model));
  if (!types.empty()) return types;
  for (int64_t i = 0; i < model.shape.layers; ++i) {
    types.emplace_back(i % 4 == 2            ? "full_attention"
                       : i % 4 == 0 && i > 0 ? "sliding_attention"
                                             : "conv");
  }
  return types;
}

absl::Status read_lfm3(HubModel& model) {
  RETURN_IF_ERROR(read_cache(model, 7));
  model.config.pass_over("use_attention_gate|use_sandwich_norm");  // the tensors say it too
  ASSIGN_OR_RETURN(const std::vector<std::string> types, read_lfm3_types(model));
  ASSIGN_OR_RETURN(const int64_t window,
                   model.config.integer_or("sliding_window", 0, kHubContextMax, 256));
  std::vector<bool> attention, windowed;
  for (const std::string& type : types) {
    windowed.push_back(type == "sliding_attention");
    attention.push_back(windowed.back() || type == "full_attention");
    if (!attention.back() && type != "conv") return refuse_type(model, type);
  }
  set_attention_layers(model, attention);
  if (std::ranges::find(windowed, true) == windowed.end()) return absl::OkStatus();
  model.keys.integer("attention.sliding_window", window);
  model.keys.booleans("attention.sliding_window_pattern", windowed);
  return absl::OkStatus();
}

constexpr HubNames kShortConvNames = {.hidden = "block_ff_dim|intermediate_size",
                                      .activation = "",
                                      .epsilon = "norm_eps|block_norm_eps"};

constexpr HubArch kShortConvArchs[] = {
    {.hub = "Lfm2ForCausalLM|LFM2ForCausalLM",
     .name = "lfm2",
     .names = kShortConvNames,
     .epsilon = 1e-5,
     .tied = true,
     .context = 128000,
     .rope = {.base = 1000000},
     .window = HubWindow::kOwn,
     .biases = "conv_bias",
     .ignored = "rms_norm_eps|block_dim|block_mlp_init_scale|block_out_init_scale|"
                "block_use_swiglu|block_use_xavier_init|conv_dim|conv_dim_out|"
                "conv_use_xavier_init|num_heads|use_pos_enc|theta",
     .read = read_lfm2,
     .rules = kLfm2},
    {.hub = "Lfm2MoeForCausalLM",
     .name = "lfm2moe",
     .names = kShortConvNames,
     .epsilon = 1e-5,
     .tied = true,
     .context = 128000,
     .rope = {.base = 1000000},
     .window = HubWindow::kOwn,
     .biases = "conv_bias",
     .ignored = "rms_norm_eps|use_pos_enc|num_heads",
     .read = read_lfm2_moe,
     .rules = kLfm2},
    {.hub = "Lfm3ForCausalLM",
     .name = "lfm3",
     .names = kShortConvNames,
     .epsilon = 1e-5,
     .tied = true,
     .context = 128000,
     .head_dim = 128,
     .rope = {.base = 1000000, .windowed_base = 10000, .may_be_partial = true},
     .window = HubWindow::kOwn,
     .biases = "conv_bias|attention_bias",
     .read = read_lfm3,
     .rules = kLfm3},
};

}  // namespace

std::span<const HubArch> short_conv_archs() { return kShortConvArchs; }

}  // namespace millrace
