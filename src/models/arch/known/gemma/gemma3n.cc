#include <cmath>

#include "models/arch/arch.h"
#include "models/arch/attention_keys.h"
#include "models/arch/gemma_keys.h"

namespace millrace {
namespace {

constexpr int64_t kLaurelRankMax = 1 << 16;

// Of the gates of each layer's network, from which deviation on they are let through; minus
// infinity where all are.
absl::Status read_sparsity(ArchReader& keys, ModelSpec& model) {
  constexpr std::string_view kKey = "activation_sparsity_scale";
  ASSIGN_OR_RETURN(const std::vector<double> deviations,
                   keys.numbers(kKey, std::ssize(model.layers)));
  for (size_t i = 0; i < model.layers.size(); ++i) {
    if (std::isinf(deviations[i]) && deviations[i] < 0) continue;
    if (!std::isfinite(deviations[i])) {
      return invalid_argument("key '{}' is {} for layer {}, but must be finite or -inf",
                              keys.name(kKey), deviations[i], i);
    }
    BodySpec& body = model.layers[i].stages[1][0].body;
    const auto& ffn = std::get<FfnSpec>(body);
    if (!ffn.gated || ffn.gate_bias || ffn.up_bias || ffn.down_bias || ffn.hidden_norm) {
      return unimplemented(
          "key '{}': networks without gates, with biases or with norms of their "
          "hidden layer are not supported with it",
          keys.name(kKey));
    }
    body = SparseFfnSpec{.width = ffn.width,
                         .hidden = ffn.hidden,
                         .function = ffn.function,
                         .deviations = static_cast<float>(deviations[i])};
  }
  return absl::OkStatus();
}

// What attention and LAuReL add to the stream is divided with it by the root of 2.
absl::Status add_laurel(const ArchReader& keys, ModelSpec& model) {
  const float share = std::sqrt(0.5F);
  const NamedTensor* left = keys.find_tensor("laurel_l.weight", 0);
  if (left == nullptr) return not_found("tensor 'blk.0.laurel_l.weight' is missing");
  const int64_t rank = left->layout.rows();
  if (rank < 1 || rank > kLaurelRankMax) {
    return invalid_argument("tensor '{}' has {} rows, but must have 1 to {}", left->name, rank,
                            kLaurelRankMax);
  }
  const LaurelSpec laurel = {
      .width = model.width, .rank = rank, .norm = model_rms_norm(model, "laurel_post_norm")};
  for (LayerSpec& layer : model.layers) {
    StageSpec& stage = layer.stages[0];
    stage[0].kept.factor = share;
    stage[0].scale = share;
    stage.push_back(
        {.pre_norm = stage[0].pre_norm, .body = laurel, .post_norm = {}, .scale = share});
  }
  return absl::OkStatus();
}

absl::Status read_altup(ArchReader& keys, ModelSpec& model) {
  AltUpSpec altup = {.router_norm = model_rms_norm(model, "altup_router_norm")};
  ASSIGN_OR_RETURN(altup.streams, keys.integer("altup.num_inputs", 2, ops::kStreamsMax));
  ASSIGN_OR_RETURN(altup.active, keys.integer("altup.active_idx", 0, altup.streams - 1));
  model.altup = altup;
  return absl::OkStatus();
}

absl::Status adjust_gemma3n(ArchReader& keys, ModelSpec& model) {
  constexpr float kUsualSoftcap = 30;  // of files that do not say it
  const auto layers = std::ssize(model.layers);
  model.embedding_scale = std::sqrt(static_cast<float>(model.width));
  if (!keys.has("final_logit_softcapping")) model.logit_softcap = kUsualSoftcap;
  ASSIGN_OR_RETURN(const int64_t shared, keys.integer("attention.shared_kv_layers", 0, layers - 1));
  ASSIGN_OR_RETURN(const int64_t input_width,
                   keys.integer("embedding_length_per_layer_input", 1, kLayerInputWidthMax));
  // Whatever the window is, which may be longer than the context.
  ASSIGN_OR_RETURN(const std::vector<bool> windowed,
                   read_windowed_layers(keys, {.window_period = 5}, layers, 1));
  for (int64_t layer = 0; layer < layers; ++layer) {
    set_gemma_attention(keys, model, attention_of_layer(model, layer));
  }
  RETURN_IF_ERROR(read_sparsity(keys, model));
  RETURN_IF_ERROR(add_laurel(keys, model));
  RETURN_IF_ERROR(read_altup(keys, model));
  add_layer_inputs(input_width, {.factor = 0}, model);
  return share_caches(shared, windowed, model);
}

}  // namespace

// Gemma 3n (Google DeepMind 2025): alternating updates of several streams, LAuReL beside attention,
// networks that let few of their gates through, per-layer embeddings, and layers that read the keys
// and values of earlier ones.
std::span<const Arch> gemma3n_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "gemma3n",
       .models = "Gemma 3n (text)",
       .traits = {.local_rope_base = 10000,
                  .window_period = 5,
                  .function = ops::ActivationFunction::Kind::kGeluTanh},
       .adjust = adjust_gemma3n},
  };
  return kArchs;
}

}  // namespace millrace
