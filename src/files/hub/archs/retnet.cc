#include <cmath>

#include "files/hub/hub_model.h"

namespace millrace {
namespace {

// Names of torchscale's RetNetDecoder.
constexpr TensorRule kRetNet[] = {
    {"embed_tokens", "token_embd"},
    {"layers.#.retention_layer_norm", "blk.#.attn_norm"},
    {"layers.#.retention.q_proj", "blk.#.attn_q"},
    {"layers.#.retention.k_proj", "blk.#.attn_k"},
    {"layers.#.retention.v_proj", "blk.#.attn_v"},
    {"layers.#.retention.g_proj", "blk.#.attn_gate"},
    {"layers.#.retention.out_proj", "blk.#.attn_output"},
    {"layers.#.final_layer_norm", "blk.#.ffn_norm"},
    {"layers.#.ffn.fc1", "blk.#.ffn_gate"},
    {"layers.#.ffn.gate", "blk.#.ffn_up"},
    {"layers.#.ffn.fc2", "blk.#.ffn_down"},
    {"layer_norm", "output_norm"},
    {"output_projection", "output"},
    {"retnet_rel_pos.*", "", Transform::kNone},
};

constexpr TensorRule kTiedRetNet[] = {
    {"output_projection.weight", "", Transform::kNone},
};

absl::Status read_retnet(HubModel& model) {
  HubConfig& config = model.config;
  const HubShape& shape = model.shape;
  ASSIGN_OR_RETURN(const int64_t values,
                   config.integer_or("decoder_value_embed_dim", 1, kHubSizeMax, 1280));
  if (values % shape.heads != 0) {
    return config.error("decoder_value_embed_dim",
                        fmt::format("is not a multiple of {} heads", shape.heads));
  }
  model.keys.integer("attention.value_length", values / shape.heads);
  ASSIGN_OR_RETURN(const bool plain, config.boolean_or("no_scale_embedding", true));
  if (!plain) {
    model.keys.number("embedding_scale", std::sqrt(static_cast<double>(shape.width)));
  }
  ASSIGN_OR_RETURN(const bool tied, config.boolean_or("share_decoder_input_output_embed", false));
  if (tied) model.own_rules = kTiedRetNet;
  RETURN_IF_ERROR(config.require("decoder_normalize_before", true, "norms behind the residual"));
  RETURN_IF_ERROR(config.require("layernorm_embedding", false, "a norm of the embedding"));
  RETURN_IF_ERROR(config.require("deepnorm", false, "scaled residuals"));
  RETURN_IF_ERROR(config.require("multiway", false, "several networks in one"));
  RETURN_IF_ERROR(config.require("no_output_layer", false, "a model without a head"));
  ASSIGN_OR_RETURN(const int64_t experts, config.integer_or("moe_freq", 0, kHubSizeMax, 0));
  if (experts != 0) return config.not_done("moe_freq", "asks for mixtures of experts");
  return absl::OkStatus();
}

constexpr HubArch kRetNetArchs[] = {
    {.hub = "RetNetDecoder",
     .name = "retnet",
     .activation = "gelu",
     .names = {.layers = "decoder_layers",
               .context = "max_target_positions",
               .width = "decoder_embed_dim",
               .hidden = "decoder_ffn_embed_dim",
               .heads = "decoder_retention_heads",
               .kv_heads = "",
               .head_dim = "",
               .activation = "activation_fn",
               .epsilon = "layernorm_eps"},
     .rope = {.base = 0},
     // How it is trained, and in which form torchscale computes.
     .ignored = "dropout|drop_path_rate|activation_dropout|moe_top1_expert|moe_expert_count|"
                "moe_gating_use_fp32|moe_eval_capacity_token_fraction|moe_second_expert_policy|"
                "moe_normalize_gate_prob_before_dropping|use_xmoe|rel_pos_buckets|max_rel_pos|"
                "subln|chunkwise_recurrent|recurrent_chunk_size|checkpoint_activations|fsdp|"
                "ddp_rank|xpos_rel_pos|xpos_scale_base",
     .read = read_retnet,
     .rules = kRetNet},
};

}  // namespace

std::span<const HubArch> retnet_archs() { return kRetNetArchs; }

}  // namespace millrace
