#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "files/hub/hub_model.h"

namespace millrace {
namespace {

constexpr TensorRule kGemma3n[] = {
    {"model.embed_tokens_per_layer", "per_layer_token_embd", Transform::kRowOfEachToken},
    {"model.per_layer_model_projection", "per_layer_model_proj"},
    {"model.per_layer_projection_norm", "per_layer_proj_norm"},
    {"model.altup_projections.@", "altup_proj"},
    {"model.altup_unembed_projections.@", "altup_unembd_proj"},
    {"model.layers.#.post_attention_layernorm", "blk.#.post_attention_norm"},
    {"model.layers.#.pre_feedforward_layernorm", "blk.#.ffn_norm"},
    {"model.layers.#.post_feedforward_layernorm", "blk.#.post_ffw_norm"},
    {"model.layers.#.altup.modality_router", "blk.#.altup_router"},
    {"model.layers.#.altup.router_norm", "blk.#.altup_router_norm"},
    {"model.layers.#.altup.prediction_coefs", "blk.#.altup_predict_coef"},
    {"model.layers.#.altup.correction_coefs", "blk.#.altup_correct_coef"},
    {"model.layers.#.altup.correct_output_scale", "blk.#.altup_correct_scale.weight"},
    {"model.layers.#.laurel.linear_left", "blk.#.laurel_l"},
    {"model.layers.#.laurel.linear_right", "blk.#.laurel_r"},
    {"model.layers.#.laurel.post_laurel_norm", "blk.#.laurel_post_norm"},
    {"model.layers.#.per_layer_input_gate", "blk.#.inp_gate"},
    {"model.layers.#.per_layer_projection", "blk.#.proj"},
    {"model.layers.#.post_per_layer_input_norm", "blk.#.post_norm"},
};

constexpr TensorRule kUnscaled[] = {
    {"model.layers.#.altup.correct_output_scale", "", Transform::kNone},
};

// The number that a normal one is below with this probability, rounded as float32 arithmetic has it
// (sqrt(2) erfinv(2p - 1)): beside the cutoff gates of a network tell the difference.
double normal_quantile(double probability) {
  const float doubled = 2 * static_cast<float>(probability) - 1;
  double low = -30, high = 30;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (std::erf(middle) < doubled ? low : high) = middle;
  }
  return static_cast<float>(high) * std::numbers::sqrt2_v<float>;
}

absl::Status read_gemma3n_sparsity(HubModel& model) {
  constexpr std::string_view kKey = "activation_sparsity_pattern";
  constexpr size_t kSparseLayers = 10;
  const auto layers = static_cast<size_t>(model.shape.layers);
  ASSIGN_OR_RETURN(std::vector<double> shares, model.config.numbers(kKey));
  if (!model.config.has(kKey)) {
    shares.assign(layers, 0);
    if (layers > kSparseLayers) std::fill_n(shares.begin(), kSparseLayers, 0.95);
  }
  if (shares.size() != layers) {
    return model.config.error(kKey,
                              fmt::format("has {} elements for {} layers", shares.size(), layers));
  }
  for (double& share : shares) {
    if (!(share >= 0 && share < 1)) {
      return model.config.error(kKey, "must be at least 0 and below 1 for each layer");
    }
    share = share == 0 ? -std::numeric_limits<double>::infinity() : normal_quantile(share);
  }
  model.keys.numbers("activation_sparsity_scale", shares);
  return absl::OkStatus();
}

// One width for all layers, or one for each.
absl::Status read_gemma3n_widths(HubModel& model) {
  constexpr std::string_view kKey = "intermediate_size";
  if (!model.config.is_list(kKey)) {
    ASSIGN_OR_RETURN(const int64_t hidden, model.config.integer(kKey, 1, kHubSizeMax));
    model.keys.integer("feed_forward_length", hidden);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::vector<double> said, model.config.numbers(kKey));
  if (std::ssize(said) != model.shape.layers) {
    return model.config.error(
        kKey, fmt::format("has {} elements for {} layers", said.size(), model.shape.layers));
  }
  std::vector<int64_t> widths;
  for (const double width : said) {
    if (!(width >= 1 && width <= kHubSizeMax && width == std::floor(width))) {
      return model.config.error(kKey, fmt::format("must have integers of 1 to {}", kHubSizeMax));
    }
    widths.push_back(static_cast<int64_t>(width));
  }
  model.keys.integers("feed_forward_length", widths);
  return absl::OkStatus();
}

absl::Status read_gemma3n_streams(HubModel& model) {
  constexpr int64_t kStreamsMax = 1 << 10;
  HubConfig& config = model.config;
  ASSIGN_OR_RETURN(const int64_t streams, config.integer_or("altup_num_inputs", 2, kStreamsMax, 4));
  ASSIGN_OR_RETURN(const int64_t active, config.integer_or("altup_active_idx", 0, streams - 1, 0));
  model.keys.integer("altup.num_inputs", streams);
  model.keys.integer("altup.active_idx", active);
  ASSIGN_OR_RETURN(const bool scales, config.boolean_or("altup_correct_scale", true));
  if (scales) return absl::OkStatus();
  model.own_rules = kUnscaled;
  for (int64_t layer = 0; layer < model.shape.layers; ++layer) {
    NamedTensor ones = {.name = fmt::format("blk.{}.altup_correct_scale.weight", layer)};
    ones.layout.rank = 1;
    ones.layout.shape[0] = model.shape.width;
    ones.values.assign(static_cast<size_t>(model.shape.width), 1);
    model.computed.push_back(std::move(ones));
  }
  return absl::OkStatus();
}

absl::Status read_gemma3n(HubModel& model) {
  HubConfig& config = model.config;
  ASSIGN_OR_RETURN(const std::vector<bool> windowed, read_windows(model));
  ASSIGN_OR_RETURN(const int64_t window, config.integer_or("sliding_window", 1, 1 << 30, 512));
  model.keys.integer("attention.sliding_window", window);
  model.keys.booleans("attention.sliding_window_pattern", windowed);
  const int64_t layers = model.shape.layers;
  ASSIGN_OR_RETURN(const int64_t shared,
                   config.integer_or("num_kv_shared_layers", 0, layers - 1, 15));
  model.keys.integer("attention.shared_kv_layers", shared);
  ASSIGN_OR_RETURN(const int64_t inputs,
                   config.integer_or("hidden_size_per_layer_input", 1, kHubSizeMax, 256));
  model.keys.integer("embedding_length_per_layer_input", inputs);
  ASSIGN_OR_RETURN(model.shape.vocab, config.integer("vocab_size", 1, kHubSizeMax));
  ASSIGN_OR_RETURN(const double cap, config.number_or("final_logit_softcapping", 30));
  model.keys.number("final_logit_softcapping", cap);
  RETURN_IF_ERROR(read_gemma3n_widths(model));
  RETURN_IF_ERROR(read_gemma3n_sparsity(model));
  return read_gemma3n_streams(model);
}

// Coefficients are clipped in training alone. Of the others the tensors say what they say.
constexpr HubArch kGemma3nArchs[] = {
    {.hub = "Gemma3nForCausalLM",
     .name = "gemma3n",
     .activation = "gelu_pytorch_tanh|gelu_new|gelu_fast",
     .names = {.hidden = "", .activation = "hidden_activation"},
     .tied = true,
     .head_dim = 256,
     .rope = {.base = 1000000, .windowed_base = 10000},
     .window = HubWindow::kOwn,
     .window_period = 5,
     .biases = "attention_bias",
     .ignored = "altup_coef_clip|altup_lr_multiplier|laurel_rank|query_pre_attn_scalar|"
                "vocab_size_per_layer_input",
     .read = read_gemma3n,
     .rules = kGemma3n},
};

}  // namespace

std::span<const HubArch> gemma_3n_archs() { return kGemma3nArchs; }

}  // namespace millrace
