#include <vector>

#include "files/hub/hub_model.h"

namespace millrace {
namespace {

constexpr TensorRule kRwkv4[] = {
    {"rwkv.embeddings", "token_embd"},
    {"rwkv.blocks.0.pre_ln", "token_embd_norm"},
    {"rwkv.blocks.#.ln1", "blk.#.attn_norm"},
    {"rwkv.blocks.#.ln2", "blk.#.attn_norm_2"},
    {"rwkv.blocks.#.attention.time_decay", "blk.#.time_mix_decay.weight"},
    {"rwkv.blocks.#.attention.time_first", "blk.#.time_mix_first.weight"},
    {"rwkv.blocks.#.attention.time_mix_key", "blk.#.time_mix_lerp_k.weight"},
    {"rwkv.blocks.#.attention.time_mix_value", "blk.#.time_mix_lerp_v.weight"},
    {"rwkv.blocks.#.attention.time_mix_receptance", "blk.#.time_mix_lerp_r.weight"},
    {"rwkv.blocks.#.attention.key", "blk.#.time_mix_key"},
    {"rwkv.blocks.#.attention.value", "blk.#.time_mix_value"},
    {"rwkv.blocks.#.attention.receptance", "blk.#.time_mix_receptance"},
    {"rwkv.blocks.#.attention.output", "blk.#.time_mix_output"},
    {"rwkv.blocks.#.feed_forward.time_mix_key", "blk.#.channel_mix_lerp_k.weight"},
    {"rwkv.blocks.#.feed_forward.time_mix_receptance", "blk.#.channel_mix_lerp_r.weight"},
    {"rwkv.blocks.#.feed_forward.key", "blk.#.channel_mix_key"},
    {"rwkv.blocks.#.feed_forward.value", "blk.#.channel_mix_value"},
    {"rwkv.blocks.#.feed_forward.receptance", "blk.#.channel_mix_receptance"},
    {"rwkv.ln_out", "output_norm"},
    {"head", "output"},
};

constexpr TensorRule kTiedRwkv4[] = {
    {"head.weight", "", Transform::kNone},
};

absl::Status read_rwkv4(HubModel& model) {
  HubConfig& config = model.config;
  ASSIGN_OR_RETURN(const int64_t inner,
                   config.integer_or("attention_hidden_size", 1, kHubSizeMax, model.shape.width));
  model.keys.integer("wkv.inner_size", inner);
  ASSIGN_OR_RETURN(const int64_t period,
                   config.integer_or("rescale_every", INT32_MIN, kHubSizeMax, 6));
  if (period > 0) model.keys.integer("rescale_every_n_layers", period);
  if (model.tied) model.own_rules = kTiedRwkv4;
  return absl::OkStatus();
}

constexpr TensorRule kRecurrentGemma[] = {
    {"model.layers.#.temporal_pre_norm", "blk.#.attn_norm", Transform::kPlusOne},
    {"model.layers.#.channel_pre_norm", "blk.#.ffn_norm", Transform::kPlusOne},
    {"model.final_norm", "output_norm", Transform::kPlusOne},
    {"model.layers.#.temporal_block.q_proj", "blk.#.attn_q"},
    {"model.layers.#.temporal_block.k_proj", "blk.#.attn_k"},
    {"model.layers.#.temporal_block.v_proj", "blk.#.attn_v"},
    {"model.layers.#.temporal_block.o_proj", "blk.#.attn_output"},
    {"model.layers.#.temporal_block.linear_x", "blk.#.lru_in"},
    {"model.layers.#.temporal_block.linear_y", "blk.#.lru_gate"},
    {"model.layers.#.temporal_block.linear_out", "blk.#.lru_out"},
    {"model.layers.#.temporal_block.conv_1d.weight", "blk.#.lru_conv1d.weight",
     Transform::kSqueezed},
    {"model.layers.#.temporal_block.conv_1d.bias", "blk.#.lru_conv1d.bias"},
    {"model.layers.#.temporal_block.rg_lru.recurrent_param", "blk.#.lru_a"},
    {"model.layers.#.temporal_block.rg_lru.input_gate_weight", "blk.#.lru_input_gate.weight",
     Transform::kSwapped},
    {"model.layers.#.temporal_block.rg_lru.input_gate_bias", "blk.#.lru_input_gate.bias"},
    {"model.layers.#.temporal_block.rg_lru.recurrent_gate_weight",
     "blk.#.lru_recurrence_gate.weight", Transform::kSwapped},
    {"model.layers.#.temporal_block.rg_lru.recurrent_gate_bias", "blk.#.lru_recurrence_gate.bias"},
    {"model.layers.#.mlp_block.gate_proj", "blk.#.ffn_gate"},
    {"model.layers.#.mlp_block.up_proj", "blk.#.ffn_up"},
    {"model.layers.#.mlp_block.down_proj", "blk.#.ffn_down"},
};

// The kinds of the first layers, again and again.
absl::StatusOr<std::vector<bool>> read_recurrent_layers(HubModel& model) {
  ASSIGN_OR_RETURN(std::vector<std::string> types,
                   model.config.strings("block_types|_block_types"));
  if (types.empty()) types = {"recurrent", "recurrent", "attention"};
  std::vector<bool> recurrent;
  for (int64_t i = 0; i < model.shape.layers; ++i) {
    const std::string& type = types[static_cast<size_t>(i) % types.size()];
    recurrent.push_back(type == "recurrent");
    if (type == "recurrent" || type == "attention") continue;
    return model.config.not_done(
        "block_types", fmt::format("has '{}', which is not supported", type.substr(0, 40)));
  }
  return recurrent;
}

absl::Status read_recurrent_gemma(HubModel& model) {
  HubConfig& config = model.config;
  const HubShape& shape = model.shape;
  ASSIGN_OR_RETURN(const std::vector<bool> recurrent, read_recurrent_layers(model));
  model.keys.booleans("attention.recurrent_layers", recurrent);
  ASSIGN_OR_RETURN(const int64_t hidden, config.integer("intermediate_size", 2, kHubSizeMax));
  model.keys.integer("feed_forward_length", hidden / 2);
  ASSIGN_OR_RETURN(const int64_t inner,
                   config.integer_or("lru_width", 1, kHubSizeMax, shape.width));
  ASSIGN_OR_RETURN(const int64_t kernel, config.integer_or("conv1d_width", 1, kHubSizeMax, 4));
  model.keys.integer("lru.inner_size", inner);
  model.keys.integer("lru.conv_kernel", kernel);
  model.keys.integer("lru.head_count", shape.heads);
  ASSIGN_OR_RETURN(const int64_t window,
                   config.integer_or("attention_window_size", 1, kHubContextMax, 2048));
  model.keys.integer("attention.sliding_window", window);
  ASSIGN_OR_RETURN(const double softcap, config.number_or("logits_soft_cap", 30));
  if (!(softcap > 0)) return config.error("logits_soft_cap", "must be positive");
  model.keys.number("final_logit_softcapping", softcap);
  return config.require("embeddings_scale_by_sqrt_dim", true, "embeddings that are not scaled");
}

constexpr HubArch kRwkvArchs[] = {
    {.hub = "RwkvForCausalLM",
     .name = "rwkv4",
     .names = {.context = "context_length|max_position_embeddings",
               .heads = "",
               .kv_heads = "",
               .head_dim = "",
               .activation = "",
               .epsilon = "layer_norm_epsilon"},
     .norm = HubNorm::kLayer,
     .epsilon = 1e-5,
     .context = 1024,
     .hidden_multiple = 4,
     .rope = {.base = 0},
     .ignored = "num_attention_heads|num_key_value_heads|rms_norm_eps|max_position_embeddings",
     .read = read_rwkv4,
     .rules = kRwkv4},
    {.hub = "RecurrentGemmaForCausalLM",
     .name = "recurrent_gemma",
     .activation = "gelu_pytorch_tanh|gelu_new|gelu_fast",
     .names = {.head_dim = "", .activation = "hidden_activation"},
     .tied = true,
     .context = 8192,
     .rope = {.partial = 0.5, .may_be_partial = true},
     .window = HubWindow::kOwn,
     .biases = "attention_bias",
     .ignored = "head_dim|w_init_variance_scale|final_w_init_variance_scale",
     .read = read_recurrent_gemma,
     .rules = kRecurrentGemma},
};

}  // namespace

std::span<const HubArch> rwkv_archs() { return kRwkvArchs; }

}  // namespace millrace
