#include <cmath>

#include "files/hub/hub_model.h"

namespace millrace {
namespace {

constexpr TensorRule kGpt2[] = {
    {"transformer.wte", "token_embd"},
    {"transformer.wpe", "position_embd"},
    {"transformer.h.#.ln_1", "blk.#.attn_norm"},
    {"transformer.h.#.attn.c_attn.weight", "blk.#.attn_qkv.weight", Transform::kSwapped},
    {"transformer.h.#.attn.c_attn.bias", "blk.#.attn_qkv.bias"},
    {"transformer.h.#.attn.c_proj.weight", "blk.#.attn_output.weight", Transform::kSwapped},
    {"transformer.h.#.attn.c_proj.bias", "blk.#.attn_output.bias"},
    {"transformer.h.#.attn.bias", "", Transform::kNone},  // the mask
    {"transformer.h.#.attn.masked_bias", "", Transform::kNone},
    {"transformer.h.#.ln_2", "blk.#.ffn_norm"},
    {"transformer.h.#.mlp.c_fc.weight", "blk.#.ffn_up.weight", Transform::kSwapped},
    {"transformer.h.#.mlp.c_fc.bias", "blk.#.ffn_up.bias"},
    {"transformer.h.#.mlp.c_proj.weight", "blk.#.ffn_down.weight", Transform::kSwapped},
    {"transformer.h.#.mlp.c_proj.bias", "blk.#.ffn_down.bias"},
    {"transformer.ln_f", "output_norm"},
};

constexpr TensorRule kGptJ[] = {
    {"transformer.wte", "token_embd"},
    {"transformer.h.#.ln_1", "blk.#.attn_norm"},
    {"transformer.h.#.attn.q_proj", "blk.#.attn_q"},
    {"transformer.h.#.attn.k_proj", "blk.#.attn_k"},
    {"transformer.h.#.attn.v_proj", "blk.#.attn_v"},
    {"transformer.h.#.attn.out_proj", "blk.#.attn_output"},
    {"transformer.h.#.attn.bias", "", Transform::kNone},  // the mask
    {"transformer.h.#.attn.masked_bias", "", Transform::kNone},
    {"transformer.h.#.mlp.fc_in", "blk.#.ffn_up"},
    {"transformer.h.#.mlp.fc_out", "blk.#.ffn_down"},
    {"transformer.ln_f", "output_norm"},
};

constexpr TensorRule kGptNeoX[] = {
    {"gpt_neox.embed_in", "token_embd"},
    {"gpt_neox.layers.#.input_layernorm", "blk.#.attn_norm"},
    {"gpt_neox.layers.#.attention.query_key_value", "blk.#.attn_qkv", Transform::kQkvByHead},
    {"gpt_neox.layers.#.attention.dense", "blk.#.attn_output"},
    {"gpt_neox.layers.#.attention.bias", "", Transform::kNone},  // the mask
    {"gpt_neox.layers.#.attention.masked_bias", "", Transform::kNone},
    {"gpt_neox.layers.#.attention.rotary_emb.inv_freq", "", Transform::kNone},
    {"gpt_neox.layers.#.post_attention_layernorm", "blk.#.ffn_norm"},
    {"gpt_neox.layers.#.mlp.dense_h_to_4h", "blk.#.ffn_up"},
    {"gpt_neox.layers.#.mlp.dense_4h_to_h", "blk.#.ffn_down"},
    {"gpt_neox.final_layer_norm", "output_norm"},
    {"embed_out", "output"},
};

constexpr TensorRule kOpt[] = {
    {"model.decoder.embed_tokens", "token_embd"},
    {"model.decoder.embed_positions", "position_embd", Transform::kWithoutTwoRows},
    {"model.decoder.layers.#.self_attn_layer_norm", "blk.#.attn_norm"},
    {"model.decoder.layers.#.self_attn.q_proj", "blk.#.attn_q"},
    {"model.decoder.layers.#.self_attn.k_proj", "blk.#.attn_k"},
    {"model.decoder.layers.#.self_attn.v_proj", "blk.#.attn_v"},
    {"model.decoder.layers.#.self_attn.out_proj", "blk.#.attn_output"},
    {"model.decoder.layers.#.final_layer_norm", "blk.#.ffn_norm"},
    {"model.decoder.layers.#.fc1", "blk.#.ffn_up"},
    {"model.decoder.layers.#.fc2", "blk.#.ffn_down"},
    {"model.decoder.final_layer_norm", "output_norm"},
};

constexpr TensorRule kBloom[] = {
    {"transformer.word_embeddings", "token_embd"},
    {"transformer.word_embeddings_layernorm", "token_embd_norm"},
    {"transformer.h.#.input_layernorm", "blk.#.attn_norm"},
    {"transformer.h.#.self_attention.query_key_value", "blk.#.attn_qkv", Transform::kQkvByHead},
    {"transformer.h.#.self_attention.dense", "blk.#.attn_output"},
    {"transformer.h.#.post_attention_layernorm", "blk.#.ffn_norm"},
    {"transformer.h.#.mlp.dense_h_to_4h", "blk.#.ffn_up"},
    {"transformer.h.#.mlp.dense_4h_to_h", "blk.#.ffn_down"},
    {"transformer.ln_f", "output_norm"},
};

constexpr TensorRule kMpt[] = {
    {"transformer.wte", "token_embd"},
    {"transformer.blocks.#.norm_1", "blk.#.attn_norm"},
    {"transformer.blocks.#.attn.Wqkv", "blk.#.attn_qkv"},
    {"transformer.blocks.#.attn.out_proj", "blk.#.attn_output"},
    {"transformer.blocks.#.norm_2", "blk.#.ffn_norm"},
    {"transformer.blocks.#.ffn.up_proj", "blk.#.ffn_up"},
    {"transformer.blocks.#.ffn.down_proj", "blk.#.ffn_down"},
    {"transformer.norm_f", "output_norm"},
};

// The norm before the feed-forward network goes by the name that is the only one where there is
// but one.
constexpr TensorRule kFalcon[] = {
    {"transformer.word_embeddings", "token_embd"},
    {"transformer.h.#.input_layernorm", "blk.#.attn_norm"},
    {"transformer.h.#.ln_mlp", "blk.#.attn_norm"},
    {"transformer.h.#.ln_attn", "blk.#.attn_norm_2"},
    {"transformer.h.#.self_attention.query_key_value", "blk.#.attn_qkv", Transform::kQkvByGroup},
    {"transformer.h.#.self_attention.dense", "blk.#.attn_output"},
    {"transformer.h.#.self_attention.rotary_emb.inv_freq", "", Transform::kNone},
    {"transformer.h.#.mlp.dense_h_to_4h", "blk.#.ffn_up"},
    {"transformer.h.#.mlp.dense_4h_to_h", "blk.#.ffn_down"},
    {"transformer.ln_f", "output_norm"},
};

constexpr TensorRule kPhi[] = {
    {"model.layers.#.self_attn.dense", "blk.#.attn_output"},
    {"model.layers.#.mlp.fc1", "blk.#.ffn_up"},
    {"model.layers.#.mlp.fc2", "blk.#.ffn_down"},
    {"model.final_layernorm", "output_norm"},
};

absl::Status read_gpt2(HubModel& model) {
  RETURN_IF_ERROR(model.config.require("scale_attn_weights", true, "scores that are not scaled"));
  return model.config.require("scale_attn_by_inverse_layer_idx", false,
                              "scores scaled by the layer's number");
}

absl::Status read_gptj(HubModel& model) {
  ASSIGN_OR_RETURN(
      const int64_t rotated,
      model.config.integer_or("rotary_dim", 2, model.shape.head_dim, model.shape.head_dim));
  model.keys.integer("rope.dimension_count", rotated);
  model.keys.number("rope.freq_base", 10000);
  return absl::OkStatus();
}

absl::Status read_gpt_neox(HubModel& model) {
  ASSIGN_OR_RETURN(const bool parallel, model.config.boolean_or("use_parallel_residual", true));
  model.keys.boolean("use_parallel_residual", parallel);
  return absl::OkStatus();
}

absl::Status read_opt(HubModel& model) {
  HubConfig& config = model.config;
  RETURN_IF_ERROR(config.require("do_layer_norm_before", true, "norms after each sublayer"));
  RETURN_IF_ERROR(config.require("_remove_final_layer_norm", false, "no norm before the head"));
  RETURN_IF_ERROR(config.require("enable_bias", true, "no biases"));
  RETURN_IF_ERROR(config.require("layer_norm_elementwise_affine", true, "norms without weights"));
  ASSIGN_OR_RETURN(const int64_t projected,
                   config.integer_or("word_embed_proj_dim", 1, kHubSizeMax, model.shape.width));
  if (projected == model.shape.width) return absl::OkStatus();
  return config.not_done("word_embed_proj_dim",
                         "is not the width: projected embeddings are not "
                         "supported");
}

absl::Status read_bloom(HubModel& model) {
  return model.config.require("apply_residual_connection_post_layernorm", false,
                              "residuals from behind the norm");
}

absl::Status read_mpt_attention(HubConfig& attention, HubModel& model) {
  RETURN_IF_ERROR(attention.require("prefix_lm", false, "attention that is not causal"));
  RETURN_IF_ERROR(attention.require("qk_ln", false, "norms of queries and keys"));
  RETURN_IF_ERROR(attention.require("attn_uses_sequence_id", false, "several texts in one"));
  RETURN_IF_ERROR(attention.require("alibi", true, "attention without ALiBi"));
  ASSIGN_OR_RETURN(const std::string type, attention.string_or("attn_type", "multihead_attention"));
  if (type != "multihead_attention") {
    return attention.not_done("attn_type", "is not 'multihead_attention'");
  }
  ASSIGN_OR_RETURN(const double bias, attention.number_or("alibi_bias_max", 8));
  model.keys.number("attention.max_alibi_bias", bias);
  for (const auto& [from, to] : {std::pair("clip_qkv", "attention.clamp_kqv"),
                                 std::pair("softmax_scale", "attention.scale")}) {
    if (!attention.has(from)) continue;
    ASSIGN_OR_RETURN(const double value, attention.number(from));
    model.keys.number(to, value);
  }
  attention.pass_over("attn_impl|is_encoder_decoder|rope");
  return attention.check_all_read();
}

absl::Status read_mpt(HubModel& model) {
  HubConfig& config = model.config;
  RETURN_IF_ERROR(config.require("no_bias", true, "biases"));
  ASSIGN_OR_RETURN(const int64_t ratio, config.integer_or("expansion_ratio", 1, 1024, 4));
  model.keys.integer("feed_forward_length", ratio * model.shape.width);
  ASSIGN_OR_RETURN(HubConfig attention, config.object("attn_config"));
  return read_mpt_attention(attention, model);
}

absl::Status read_falcon(HubModel& model) {
  HubConfig& config = model.config;
  RETURN_IF_ERROR(config.require("alibi", false, "ALiBi, biases by distance"));
  RETURN_IF_ERROR(config.require("parallel_attn", true, "sublayers one after the other"));
  RETURN_IF_ERROR(config.require("bias", false, "biases"));
  RETURN_IF_ERROR(config.require("apply_residual_connection_post_layernorm", false,
                                 "residuals from behind the norm"));
  ASSIGN_OR_RETURN(const bool is_new, config.boolean_or("new_decoder_architecture", false));
  ASSIGN_OR_RETURN(const bool is_multi_query, config.boolean_or("multi_query", true));
  const int64_t heads = model.shape.heads;
  ASSIGN_OR_RETURN(const int64_t said,
                   config.integer_or("num_kv_heads|n_head_kv", 1, heads, heads));
  const int64_t groups = is_new || !is_multi_query ? said : 1;
  if (heads % groups != 0) {
    return config.error("num_kv_heads", fmt::format("does not divide the {} query heads", heads));
  }
  model.shape.kv_heads = groups;
  model.keys.integer("attention.head_count_kv", groups);
  model.keys.text("tensor_data_layout", "jploski");
  return absl::OkStatus();
}

absl::Status read_phi(HubModel& model) {
  return model.config.require("qk_layernorm", false, "norms of queries and keys");
}

constexpr std::string_view kTanhGelu = "gelu_new|gelu_pytorch_tanh|gelu_fast";

constexpr HubArch kOtherArchs[] = {
    {.hub = "GPT2LMHeadModel",
     .name = "gpt2",
     .activation = kTanhGelu,
     .names = {.layers = "n_layer|num_hidden_layers",
               .context = "n_positions|n_ctx|max_position_embeddings",
               .width = "n_embd|hidden_size",
               .hidden = "n_inner",
               .heads = "n_head|num_attention_heads",
               .kv_heads = "",
               .head_dim = "",
               .activation = "activation_function",
               .epsilon = "layer_norm_epsilon"},
     .norm = HubNorm::kLayer,
     .epsilon = 1e-5,
     .tied = true,
     .hidden_multiple = 4,
     .rope = {.base = 0},
     .ignored = "num_key_value_heads|intermediate_size|rms_norm_eps|summary_activation|"
                "summary_first_dropout|summary_proj_to_labels|summary_type|summary_use_proj",
     .read = read_gpt2,
     .rules = kGpt2},
    {.hub = "GPTJForCausalLM",
     .name = "gptj",
     .activation = kTanhGelu,
     .names = {.layers = "n_layer|num_hidden_layers",
               .context = "n_positions|n_ctx|max_position_embeddings",
               .width = "n_embd|hidden_size",
               .hidden = "n_inner",
               .heads = "n_head|num_attention_heads",
               .kv_heads = "",
               .head_dim = "",
               .activation = "activation_function",
               .epsilon = "layer_norm_epsilon"},
     .norm = HubNorm::kLayer,
     .epsilon = 1e-5,
     .hidden_multiple = 4,
     .rope = {.base = 0},
     .ignored = "num_key_value_heads|intermediate_size|rms_norm_eps|scale_attn_weights|rotary|"
                "summary_activation|summary_first_dropout|summary_proj_to_labels|summary_type|"
                "summary_use_proj",
     .read = read_gptj,
     .rules = kGptJ},
    {.hub = "GPTNeoXForCausalLM",
     .name = "gptneox",
     .activation = "gelu",
     .names = {.kv_heads = "", .head_dim = "", .epsilon = "layer_norm_eps"},
     .norm = HubNorm::kLayer,
     .epsilon = 1e-5,
     .rope = {.partial = 0.25},
     .biases = "attention_bias",
     .ignored = "num_key_value_heads|rms_norm_eps",
     .read = read_gpt_neox,
     .rules = kGptNeoX},
    {.hub = "OPTForCausalLM",
     .name = "opt",
     .activation = "relu",
     .names = {.hidden = "ffn_dim",
               .kv_heads = "",
               .head_dim = "",
               .activation = "activation_function",
               .epsilon = ""},
     .norm = HubNorm::kLayer,
     .epsilon = 1e-5,
     .tied = true,
     .rope = {.base = 0},
     .ignored = "num_key_value_heads|intermediate_size|rms_norm_eps",
     .read = read_opt,
     .rules = kOpt},
    {.hub = "BloomForCausalLM",
     .name = "bloom",
     .activation = "",
     .names = {.layers = "n_layer|num_hidden_layers",
               .context = "seq_length|max_position_embeddings",
               .width = "hidden_size|n_embed",
               .hidden = "",
               .heads = "n_head|num_attention_heads",
               .kv_heads = "",
               .head_dim = "",
               .activation = "",
               .epsilon = "layer_norm_epsilon"},
     .norm = HubNorm::kLayer,
     .epsilon = 1e-5,
     .tied = true,
     .context = 2048,
     .hidden_multiple = 4,
     .rope = {.base = 0},
     .ignored = "num_key_value_heads|intermediate_size|rms_norm_eps|n_inner|offset_alibi|"
                "attention_softmax_in_fp32|bias_dropout_fusion|masked_softmax_fusion|"
                "skip_bias_add|skip_bias_add_qkv",
     .read = read_bloom,
     .rules = kBloom},
    {.hub = "MptForCausalLM|MPTForCausalLM",
     .name = "mpt",
     .activation = "",
     .names = {.layers = "n_layers|num_hidden_layers",
               .context = "max_seq_len",
               .width = "d_model|hidden_size",
               .hidden = "",
               .heads = "n_heads|num_attention_heads",
               .kv_heads = "",
               .head_dim = "",
               .activation = "",
               .epsilon = "layer_norm_epsilon"},
     .norm = HubNorm::kLayer,
     .epsilon = 1e-5,
     .tied = true,
     .context = 2048,
     .hidden_multiple = 4,
     .rope = {.base = 0},
     .ignored = "num_key_value_heads|intermediate_size|rms_norm_eps|max_position_embeddings|"
                "embedding_fraction|learned_pos_emb|norm_type|init_config|tokenizer_name|"
                "use_pad_tok_in_ffn",
     .read = read_mpt,
     .rules = kMpt},
    {.hub = "FalconForCausalLM|RWForCausalLM",
     .name = "falcon",
     .activation = "gelu",
     .names = {.layers = "num_hidden_layers|n_layer",
               .width = "hidden_size|n_embed",
               .hidden = "ffn_hidden_size",
               .heads = "num_attention_heads|n_head",
               .kv_heads = "",
               .head_dim = "",
               .activation = "activation",
               .epsilon = "layer_norm_epsilon"},
     .norm = HubNorm::kLayer,
     .epsilon = 1e-5,
     .tied = true,
     .context = 2048,
     .hidden_multiple = 4,
     .ignored = "num_key_value_heads|intermediate_size|rms_norm_eps|num_ln_in_parallel_attn",
     .read = read_falcon,
     .rules = kFalcon},
    {.hub = "PhiForCausalLM",
     .name = "phi2",
     .activation = kTanhGelu,
     .names = {.epsilon = "layer_norm_eps"},
     .norm = HubNorm::kLayer,
     .epsilon = 1e-5,
     .rope = {.partial = 0.5},
     .ignored = "rms_norm_eps",
     .read = read_phi,
     .rules = kPhi},
};

}  // namespace

std::span<const HubArch> other_archs() { return kOtherArchs; }

}  // namespace millrace
