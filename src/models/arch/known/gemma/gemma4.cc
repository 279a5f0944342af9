#include <cmath>

#include "models/arch/arch.h"
#include "models/arch/attention_keys.h"
#include "models/arch/gemma_keys.h"

namespace millrace {
namespace {

constexpr int64_t kSharedHiddenMax = 1 << 22;

// Heads of layers with a window have dimensions and a rotation of their own.
absl::Status read_windowed_heads(ArchReader& keys, AttentionSpec& attention) {
  ASSIGN_OR_RETURN(const int64_t dim,
                   keys.integer_or("attention.key_length_swa", 2, kHeadDimMax, attention.head_dim));
  ASSIGN_OR_RETURN(const int64_t value_dim,
                   keys.integer_or("attention.value_length_swa", 2, kHeadDimMax, dim));
  if (dim != value_dim) {
    return unimplemented("keys of {} and values of {} dimensions in a head ('{}')", dim, value_dim,
                         keys.name("attention.value_length_swa"));
  }
  ASSIGN_OR_RETURN(const int64_t rotated, keys.integer_or("rope.dimension_count_swa", 2, dim, dim));
  if (rotated % 2 != 0) {
    return invalid_argument("key '{}' is {}, but rotated dimensions come in pairs",
                            keys.name("rope.dimension_count_swa"), rotated);
  }
  attention.head_dim = static_cast<int32_t>(dim);
  attention.rope->rotated = static_cast<int32_t>(rotated);
  return absl::OkStatus();
}

absl::Status adjust_attention(ArchReader& keys, int64_t layer, bool has_window, ModelSpec& model) {
  AttentionSpec& attention = attention_of_layer(model, layer);
  set_gemma_attention(keys, model, attention);
  attention.values_are_keys = keys.find_tensor("attn_v.weight", layer) == nullptr;
  return has_window ? read_windowed_heads(keys, attention) : absl::OkStatus();
}

// Experts stand beside the feed-forward network, which is their shared expert here.
absl::Status adjust_experts(ArchReader& keys, int64_t layer, ModelSpec& model) {
  BranchSpec& branch = model.layers[static_cast<size_t>(layer)].stages[1][0];
  auto* const moe = std::get_if<MoeSpec>(&branch.body);
  if (moe == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(moe->shared_hidden,
                   keys.integer_of("feed_forward_length", layer, 1, kSharedHiddenMax));
  moe->expert_scales = keys.find_tensor("ffn_down_exps.scale", layer) != nullptr;
  moe->part_norms = {.router_epsilon = model.output_norm.epsilon,
                     .experts = model_rms_norm(model, "pre_ffw_norm_2"),
                     .after_experts = model_rms_norm(model, "post_ffw_norm_2"),
                     .shared = branch.pre_norm,
                     .after_shared = model_rms_norm(model, "post_ffw_norm_1")};
  branch.pre_norm = {};
  if (!model.slices.empty() && model.slices.back().name == "ffn_down_shexp.weight") {
    return absl::OkStatus();
  }
  for (const auto& [part, rows] :
       {std::pair{"gate", moe->shared_hidden}, {"up", moe->shared_hidden}, {"down", model.width}}) {
    model.slices.push_back(
        {fmt::format("ffn_{}_shexp.weight", part), fmt::format("ffn_{}.weight", part), 0, rows});
  }
  return absl::OkStatus();
}

absl::Status adjust_gemma4(ArchReader& keys, ModelSpec& model) {
  const auto layers = std::ssize(model.layers);
  model.embedding_scale = std::sqrt(static_cast<float>(model.width));
  ASSIGN_OR_RETURN(const int64_t shared,
                   keys.integer_or("attention.shared_kv_layers", 0, layers - 1, 0));
  ASSIGN_OR_RETURN(const int64_t input_width,
                   keys.integer_or("embedding_length_per_layer_input", 0, kLayerInputWidthMax, 0));
  // Whatever the window is, which may be longer than the context.
  ASSIGN_OR_RETURN(const std::vector<bool> windowed,
                   read_windowed_layers(keys, {.window_period = 6}, layers, 1));
  if (input_width > 0) add_layer_inputs(input_width, {}, model);
  for (int64_t layer = 0; layer < layers; ++layer) {
    model.layers[static_cast<size_t>(layer)].output_scale =
        keys.find_tensor("layer_output_scale.weight", layer) != nullptr;
    RETURN_IF_ERROR(adjust_attention(keys, layer, windowed[static_cast<size_t>(layer)], model));
    RETURN_IF_ERROR(adjust_experts(keys, layer, model));
  }
  return share_caches(shared, windowed, model);
}

}  // namespace

// Gemma 4 (Google DeepMind 2026): heads of two sizes, layers that read the keys and values of
// earlier ones, per-layer embeddings, and experts beside the feed-forward network.
std::span<const Arch> gemma4_archs() {
  using enum ops::ActivationFunction::Kind;
  static constexpr Arch kArchs[] = {
      {.name = "gemma4",
       .models = "Gemma 4 (text)",
       .traits = {.local_rope_base = 10000,
                  .window_period = 6,
                  .function = kGeluTanh,
                  .moe = MoeTraits{}},
       .adjust = adjust_gemma4},
  };
  return kArchs;
}

}  // namespace millrace
