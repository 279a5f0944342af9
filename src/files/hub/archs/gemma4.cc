#include <algorithm>
#include <string>
#include <vector>

#include "files/hub/hub_model.h"

namespace millrace {
namespace {

constexpr TensorRule kGemma4[] = {
    {"model.embed_tokens_per_layer", "per_layer_token_embd"},
    {"model.per_layer_model_projection", "per_layer_model_proj"},
    {"model.per_layer_projection_norm", "per_layer_proj_norm"},
    {"model.layers.#.post_attention_layernorm", "blk.#.post_attention_norm"},
    {"model.layers.#.pre_feedforward_layernorm", "blk.#.ffn_norm"},
    {"model.layers.#.pre_feedforward_layernorm_2", "blk.#.pre_ffw_norm_2"},
    {"model.layers.#.post_feedforward_layernorm", "blk.#.post_ffw_norm"},
    {"model.layers.#.post_feedforward_layernorm_1", "blk.#.post_ffw_norm_1"},
    {"model.layers.#.post_feedforward_layernorm_2", "blk.#.post_ffw_norm_2"},
    {"model.layers.#.router.proj", "blk.#.ffn_gate_inp"},
    {"model.layers.#.router.scale", "blk.#.ffn_gate_inp.scale"},
    {"model.layers.#.router.per_expert_scale", "blk.#.ffn_down_exps.scale"},
    {"model.layers.#.experts.gate_up_proj", "blk.#.ffn_gate_exps.weight", Transform::kFirstHalf},
    {"model.layers.#.experts.gate_up_proj", "blk.#.ffn_up_exps.weight", Transform::kSecondHalf},
    {"model.layers.#.experts.down_proj", "blk.#.ffn_down_exps.weight"},
    {"model.layers.#.per_layer_input_gate", "blk.#.inp_gate"},
    {"model.layers.#.per_layer_projection", "blk.#.proj"},
    {"model.layers.#.post_per_layer_input_norm", "blk.#.post_norm"},
    {"model.layers.#.layer_scalar", "blk.#.layer_output_scale.weight"},
};

// What heads of layers without a window have of their own.
struct FullHeads {
  int64_t head_dim = 0;
  int64_t kv_heads = 0;
};

// By layer: those of full attention agree with each other, and the others with the model.
absl::StatusOr<FullHeads> read_heads_by_layer(HubModel& model, const std::vector<bool>& windowed) {
  const FullHeads usual = {model.shape.head_dim, model.shape.kv_heads};
  FullHeads full = usual;
  bool is_first = true;
  ASSIGN_OR_RETURN(HubConfig layers, model.config.object("per_layer_config"));
  for (size_t i = 0; i < windowed.size(); ++i) {
    const std::string number = std::to_string(i);
    ASSIGN_OR_RETURN(HubConfig layer, layers.object(number));
    FullHeads own = usual;
    ASSIGN_OR_RETURN(own.head_dim, layer.integer_or("head_dim", 1, kHubSizeMax, usual.head_dim));
    ASSIGN_OR_RETURN(own.kv_heads,
                     layer.integer_or("num_key_value_heads", 1, model.shape.heads, usual.kv_heads));
    RETURN_IF_ERROR(layer.check_all_read());
    const FullHeads& expected = windowed[i] || is_first ? usual : full;
    if (!windowed[i] && is_first) {
      full = own;
      is_first = false;
    } else if (own.head_dim != expected.head_dim || own.kv_heads != expected.kv_heads) {
      return layers.not_done(number, "has other heads than the other layers of its type");
    }
  }
  RETURN_IF_ERROR(layers.check_all_read());
  return full;
}

absl::StatusOr<FullHeads> read_full_heads(HubModel& model, const std::vector<bool>& windowed) {
  HubConfig& config = model.config;
  ASSIGN_OR_RETURN(const bool shares, config.boolean_or("attention_k_eq_v", false));
  if (config.has("per_layer_config")) return read_heads_by_layer(model, windowed);
  FullHeads full = {0, model.shape.kv_heads};
  ASSIGN_OR_RETURN(full.head_dim, config.integer_or("global_head_dim", 1, kHubSizeMax, 512));
  ASSIGN_OR_RETURN(const int64_t kv_heads, config.integer_or("num_global_key_value_heads", 1,
                                                             model.shape.heads, full.kv_heads));
  if (shares) full.kv_heads = kv_heads;
  return full;
}

absl::StatusOr<FullHeads> read_gemma4_heads(HubModel& model, const std::vector<bool>& windowed) {
  ASSIGN_OR_RETURN(const FullHeads full, read_full_heads(model, windowed));
  const int64_t dim = model.shape.head_dim;
  if (model.shape.heads % full.kv_heads != 0) {
    return model.config.error("num_attention_heads", "is no multiple of the key heads");
  }
  for (const std::string_view key : {"attention.key_length", "attention.value_length"}) {
    model.keys.integer(key, full.head_dim);
    model.keys.integer(std::string(key) + "_swa", dim);
  }
  if (full.kv_heads == model.shape.kv_heads) return full;
  std::vector<int64_t> kv_heads;
  for (const bool has : windowed) kv_heads.push_back(has ? model.shape.kv_heads : full.kv_heads);
  model.keys.integers("attention.head_count_kv", kv_heads);
  return full;
}

// Pairs that a proportional rope leaves as they are have frequencies that are next to nothing.
void add_rope_factors(int64_t pairs, int64_t rotated, HubModel& model) {
  constexpr float kNever = 1e30F;
  NamedTensor tensor = {.name = "rope_freqs.weight"};
  tensor.layout.rank = 1;
  tensor.layout.shape[0] = pairs;
  tensor.values.assign(static_cast<size_t>(pairs), 1);
  std::fill(tensor.values.begin() + rotated, tensor.values.end(), kNever);
  model.computed.push_back(std::move(tensor));
}

absl::StatusOr<double> read_base(HubConfig& rope, double usual) {
  ASSIGN_OR_RETURN(const double base, rope.number_or("rope_theta", usual));
  if (!(base > 1)) return rope.error("rope_theta", "must be above 1");
  return base;
}

absl::Status read_gemma4_ropes(int64_t full_dim, HubModel& model) {
  ASSIGN_OR_RETURN(HubConfig ropes, model.config.object("rope_parameters"));
  const bool said = model.config.has("rope_parameters");
  ASSIGN_OR_RETURN(HubConfig full, ropes.object("full_attention"));
  ASSIGN_OR_RETURN(HubConfig windowed, ropes.object("sliding_attention"));
  RETURN_IF_ERROR(ropes.check_all_read());
  ASSIGN_OR_RETURN(const double base, read_base(full, 1000000));
  ASSIGN_OR_RETURN(const double windowed_base, read_base(windowed, 10000));
  ASSIGN_OR_RETURN(const std::string type, full.string_or("rope_type", "proportional"));
  ASSIGN_OR_RETURN(const std::string other, windowed.string_or("rope_type", "default"));
  ASSIGN_OR_RETURN(double share, full.number_or("partial_rotary_factor", said ? 1 : 0.25));
  if (type != "proportional" && type != "default") {
    return full.not_done("rope_type", "is not 'proportional' or 'default': not supported");
  }
  if (other != "default") return windowed.not_done("rope_type", "is not 'default' here");
  if (!(share >= 0 && share <= 1)) {
    return full.error("partial_rotary_factor", "must be at least 0 and at most 1");
  }
  if (type == "default") share = 1;
  RETURN_IF_ERROR(full.check_all_read());
  RETURN_IF_ERROR(windowed.check_all_read());
  model.keys.integer("rope.dimension_count", full_dim);
  model.keys.integer("rope.dimension_count_swa", model.shape.head_dim);
  model.keys.number("rope.freq_base", base);
  model.keys.number("rope.freq_base_swa", windowed_base);
  add_rope_factors(full_dim / 2, static_cast<int64_t>(share * static_cast<double>(full_dim)) / 2,
                   model);
  return absl::OkStatus();
}

absl::Status read_gemma4_experts(HubModel& model) {
  HubConfig& config = model.config;
  ASSIGN_OR_RETURN(const bool has, config.boolean_or("enable_moe_block", false));
  if (!has) {
    for (const char* key : {"num_experts", "top_k_experts", "moe_intermediate_size"}) {
      config.pass_over(key);
    }
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const int64_t count, config.integer("num_experts", 1, 1 << 16));
  ASSIGN_OR_RETURN(const int64_t used, config.integer("top_k_experts", 1, count));
  ASSIGN_OR_RETURN(const int64_t hidden, config.integer("moe_intermediate_size", 1, kHubSizeMax));
  model.keys.integer("expert_count", count);
  model.keys.integer("expert_used_count", used);
  model.keys.integer("expert_feed_forward_length", hidden);
  return absl::OkStatus();
}

// The last layers read the keys and values of earlier ones, and may have networks twice as wide.
absl::Status read_sharing(HubModel& model) {
  HubConfig& config = model.config;
  const int64_t layers = model.shape.layers;
  ASSIGN_OR_RETURN(const int64_t shared,
                   config.integer_or("num_kv_shared_layers", 0, layers - 1, 0));
  ASSIGN_OR_RETURN(const bool doubles, config.boolean_or("use_double_wide_mlp", false));
  model.keys.integer("attention.shared_kv_layers", shared);
  if (!doubles) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t hidden, config.integer("intermediate_size", 1, kHubSizeMax));
  std::vector<int64_t> widths(static_cast<size_t>(layers), hidden);
  std::fill(widths.end() - shared, widths.end(), 2 * hidden);
  model.keys.integers("feed_forward_length", widths);
  return absl::OkStatus();
}

absl::Status read_layer_inputs(HubModel& model) {
  HubConfig& config = model.config;
  ASSIGN_OR_RETURN(const int64_t width,
                   config.integer_or("hidden_size_per_layer_input", 0, kHubSizeMax, 256));
  model.keys.integer("embedding_length_per_layer_input", width);
  ASSIGN_OR_RETURN(const int64_t vocab, config.integer("vocab_size", 1, kHubSizeMax));
  ASSIGN_OR_RETURN(const int64_t own,
                   config.integer_or("vocab_size_per_layer_input", 1, kHubSizeMax, 262144));
  if (width == 0 || own == vocab) return absl::OkStatus();
  return config.not_done("vocab_size_per_layer_input", "is not vocab_size: not supported");
}

absl::Status read_gemma4(HubModel& model) {
  HubConfig& config = model.config;
  ASSIGN_OR_RETURN(std::vector<bool> windowed, read_windows(model));
  windowed.back() = false;  // whatever config.json says
  ASSIGN_OR_RETURN(const int64_t window, config.integer_or("sliding_window", 1, 1 << 30, 512));
  model.keys.integer("attention.sliding_window", window);
  model.keys.booleans("attention.sliding_window_pattern", windowed);
  ASSIGN_OR_RETURN(const std::string both, config.string_or("use_bidirectional_attention", ""));
  if (!both.empty() && both != "vision") {
    return config.not_done("use_bidirectional_attention",
                           "asks for attention that is not causal, which is not supported");
  }
  ASSIGN_OR_RETURN(const FullHeads full, read_gemma4_heads(model, windowed));
  RETURN_IF_ERROR(read_gemma4_ropes(full.head_dim, model));
  RETURN_IF_ERROR(read_sharing(model));
  RETURN_IF_ERROR(read_layer_inputs(model));
  RETURN_IF_ERROR(read_gemma4_experts(model));
  if (!config.has("final_logit_softcapping")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const double cap, config.number("final_logit_softcapping"));
  model.keys.number("final_logit_softcapping", cap);
  return absl::OkStatus();
}

constexpr HubArch kGemma4Archs[] = {
    {.hub = "Gemma4ForCausalLM",
     .name = "gemma4",
     .activation = "gelu_pytorch_tanh|gelu_new|gelu_fast",
     .names = {.activation = "hidden_activation"},
     .tied = true,
     .head_dim = 256,
     .rope = {.base = 0},  // two of its own
     .window = HubWindow::kOwn,
     .window_period = 6,
     .biases = "attention_bias",
     .read = read_gemma4,
     .rules = kGemma4},
};

}  // namespace

std::span<const HubArch> gemma_4_archs() { return kGemma4Archs; }

}  // namespace millrace
