#include <cmath>

#include "models/arch/arch.h"
#include "models/arch/attention_keys.h"
#include "models/arch/known/recurrent/recurrent_keys.h"
#include "models/arch/rope_keys.h"

namespace millrace {
namespace {

constexpr int64_t kLatentHeadsMax = 4096;
constexpr int64_t kLatentWidthMax = 1 << 20;

// Of a head, and what all heads share. Files that keep keys and values of all heads have one name
// less for their lengths.
absl::Status read_dimensions(ArchReader& keys, int64_t layer, LatentSpec& spec) {
  ASSIGN_OR_RETURN(const int64_t heads,
                   keys.integer_of("attention.head_count", layer, 1, kLatentHeadsMax));
  ASSIGN_OR_RETURN(const int64_t latent,
                   keys.integer("attention.kv_lora_rank", 1, kLatentWidthMax));
  ASSIGN_OR_RETURN(const int64_t rotated, keys.integer("rope.dimension_count", 2, kLatentWidthMax));
  ASSIGN_OR_RETURN(const int64_t key,
                   keys.integer(keys.has("attention.key_length_mla") ? "attention.key_length_mla"
                                                                     : "attention.key_length",
                                rotated + 1, kLatentWidthMax));
  ASSIGN_OR_RETURN(const int64_t usual, keys.integer_or("attention.value_length", 1,
                                                        kLatentWidthMax, spec.width / heads));
  ASSIGN_OR_RETURN(const int64_t value,
                   keys.integer_or("attention.value_length_mla", 1, kLatentWidthMax, usual));
  // Of the latent as all heads' one key and value, as tensors' shapes say too.
  for (const char* shared : {"attention.head_count_kv", "attention.key_length"}) {
    keys.pass_over(shared);
  }
  if (latent + rotated > kHeadDimMax) {
    return unimplemented("keys '{}' and '{}' are {} and {}: supported are at most {} together",
                         keys.name("attention.kv_lora_rank"), keys.name("rope.dimension_count"),
                         latent, rotated, kHeadDimMax);
  }
  spec.heads = static_cast<int32_t>(heads);
  spec.latent_dim = static_cast<int32_t>(latent);
  spec.rotated_dim = static_cast<int32_t>(rotated);
  spec.plain_dim = static_cast<int32_t>(key - rotated);
  spec.value_dim = static_cast<int32_t>(value);
  return absl::OkStatus();
}

// YaRN with a multiplier of the logarithm, which files say a tenth of, stretches the scores by the
// square of that magnitude, and not the rotations (DeepSeek-V2's code, section `yarn`).
absl::Status read_stretch(ArchReader& keys, LatentSpec& spec) {
  RopeSpec& rope = *spec.rope;
  if (rope.scaling.kind != RopeScaling::Kind::kYarn) return absl::OkStatus();
  ASSIGN_OR_RETURN(const double tenth, keys.number_or("rope.scaling.yarn_log_multiplier", 0));
  ASSIGN_OR_RETURN(const double own, keys.positive_or("rope.scaling.attn_factor", 1));
  const double factor = rope.scaling.factor;
  rope.magnitude = tenth == 0 ? own * yarn_magnitude(factor) : own;
  if (tenth == 0) return absl::OkStatus();
  const double stretch = yarn_magnitude(factor, 10 * tenth);
  spec.scale *= static_cast<float>(stretch * stretch);
  return absl::OkStatus();
}

absl::StatusOr<LatentSpec> read_latent(ArchReader& keys, const ModelSpec& model, int64_t layer) {
  LatentSpec spec = {.width = model.width};
  RETURN_IF_ERROR(read_dimensions(keys, layer, spec));
  const auto has = [&](std::string_view tensor) {
    return keys.find_tensor(tensor, layer) != nullptr;
  };
  if (has("attn_q_a.weight")) {
    ASSIGN_OR_RETURN(spec.query_rank, keys.integer("attention.q_lora_rank", 1, kLatentWidthMax));
  }
  keys.pass_over("attention.q_lora_rank");  // without such a tensor it says nothing
  ASSIGN_OR_RETURN(const double epsilon, keys.positive_or("attention.latent_norm_rms_epsilon",
                                                          model.output_norm.epsilon));
  spec.query_norm = {.kind = NormSpec::Kind::kRms,
                     .name = "attn_q_a_norm",
                     .epsilon = static_cast<float>(epsilon)};
  spec.latent_norm = spec.query_norm;
  spec.latent_norm.name = "attn_kv_a_norm";
  spec.low_biases = has("attn_kv_a_mqa.bias");
  spec.output_bias = has("attn_output.bias");
  spec.scale = 1 / std::sqrt(static_cast<float>(spec.plain_dim + spec.rotated_dim));
  return spec;
}

template <ops::Rope::Pairs kPairs>
absl::StatusOr<LayerParts> rotated_parts(ArchReader& keys, const ModelSpec& model, int64_t layer) {
  ASSIGN_OR_RETURN(LatentSpec spec, read_latent(keys, model, layer));
  const DecoderTraits traits = {.pairs = kPairs};
  ASSIGN_OR_RETURN(spec.rope, read_rope(keys, traits, spec.rotated_dim, model.context_max));
  RETURN_IF_ERROR(read_stretch(keys, spec));
  return LayerParts{.attention = false, .mixers = {spec}};
}

// Nothing rotates: the delta nets tell what comes first.
absl::StatusOr<LayerParts> kimi_parts(ArchReader& keys, const ModelSpec& model, int64_t layer) {
  keys.pass_over("rope.freq_base");
  ASSIGN_OR_RETURN(const bool attends, has_key_heads(keys, layer));
  ASSIGN_OR_RETURN(const LatentSpec latent, read_latent(keys, model, layer));
  ASSIGN_OR_RETURN(const DeltaNetSpec net, read_kimi_delta_net(keys, model, layer));
  if (attends) return LayerParts{.attention = false, .mixers = {latent}};
  return LayerParts{.attention = false, .mixers = {net}};
}

// A head's queries are the rows of its plain part and then those of its rotated part; where keys
// and values are in one matrix, its rows are those of a key and then those of a value.
void slice_heads(ArchReader& keys, ModelSpec& model) {
  constexpr const char* kBoth = "attn_kv_b.weight";
  const bool is_joined = keys.find_tensor(kBoth, keys.first_layer_with(kBoth)) != nullptr;
  for_each<LatentSpec>(model, [&](const LatentSpec& latent) {
    if (!model.slices.empty() && model.slices.back().name == "attn_q_rotated.weight") return;
    const std::string source = latent.query_rank > 0 ? "attn_q_b.weight" : "attn_q.weight";
    const int64_t rows = int64_t{latent.plain_dim} + latent.rotated_dim;
    model.slices.push_back({"attn_q_plain.weight", source, 0, rows});
    if (is_joined) {
      const int64_t both = int64_t{latent.plain_dim} + latent.value_dim;
      model.slices.push_back({"attn_k_b.weight", kBoth, 0, both, true});
      model.slices.push_back({"attn_v_b.weight", kBoth, latent.plain_dim, both});
    }
    model.slices.push_back({"attn_q_rotated.weight", source, latent.plain_dim, rows});
  });
}

// Files whose layers are all without experts may have the keys all the same.
void pass_over_experts(ArchReader& keys) {
  for (const char* key :
       {"expert_count", "expert_used_count", "expert_feed_forward_length", "expert_shared_count",
        "expert_shared_feed_forward_length", "expert_weights_scale", "expert_weights_norm",
        "expert_gating_func", "expert_group_count", "expert_group_used_count",
        "leading_dense_block_count"}) {
    keys.pass_over(key);
  }
}

absl::Status adjust_deepseek2(ArchReader& keys, ModelSpec& model) {
  RETURN_IF_ERROR(drop_predictors(keys, model));
  // Files of GLM 4.7 Flash from before the key.
  constexpr int32_t kGlmVocab = 154880;
  const bool is_glm = model.vocab_size == kGlmVocab && !keys.has("expert_gating_func");
  bool has_experts = false;
  for_each<MoeSpec>(model, [&](MoeSpec& moe) {
    has_experts = true;
    if (is_glm) moe.routing.score = ops::Routing::Score::kSigmoid;
    moe.routing.groups_by_two = moe.routing.score == ops::Routing::Score::kSigmoid;
  });
  if (!has_experts) pass_over_experts(keys);
  slice_heads(keys, model);
  return absl::OkStatus();
}

// What files of llama.cpp's converters leave to the reader.
absl::Status adjust_minicpm3(ArchReader& keys, ModelSpec& model) {
  constexpr float kEmbedding = 12, kDepth = 1.4F, kBaseWidth = 256;
  if (!keys.has("embedding_scale")) model.embedding_scale = kEmbedding;
  if (!keys.has("logit_scale")) model.logit_scale = kBaseWidth / static_cast<float>(model.width);
  const auto layers = static_cast<float>(model.layers.size());
  for (LayerSpec& layer : model.layers) {
    if (keys.has("residual_scale")) break;
    for (StageSpec& stage : layer.stages) stage[0].scale = kDepth / std::sqrt(layers);
  }
  slice_heads(keys, model);
  return absl::OkStatus();
}

}  // namespace

// DeepSeek-V2 (DeepSeek-AI 2024) and its relatives: latent attention, and mixtures of experts in
// all but the first layers. V2 chooses by softmax, the others by sigmoids with a bias. Kimi Linear
// (Kimi Team 2025) has latents in every fourth layer and delta nets in the others, MiniCPM3
// (OpenBMB 2024) no mixtures.
std::span<const Arch> deepseek_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "deepseek2",
       .models = "DeepSeek V2, V3 and R1, Kimi K2, GLM 4.7 Flash",
       .traits = {.moe = MoeTraits{.renormalise = false},
                  .parts = rotated_parts<ops::Rope::Pairs::kNeighbours>},
       .adjust = adjust_deepseek2},
      {.name = "kimi-linear",
       .models = "Kimi Linear",
       .traits = {.moe = MoeTraits{.score = ops::Routing::Score::kSigmoid}, .parts = kimi_parts},
       .adjust = adjust_deepseek2},
      {.name = "minicpm3",
       .models = "MiniCPM3",
       .traits = {.parts = rotated_parts<ops::Rope::Pairs::kHalves>},
       .adjust = adjust_minicpm3},
  };
  return kArchs;
}

}  // namespace millrace
