#include "models/arch/arch.h"
#include "models/arch/known/recurrent/recurrent_keys.h"

namespace millrace {
namespace {

absl::StatusOr<LayerParts> mamba_parts(ArchReader& keys, const ModelSpec& model, int64_t) {
  ASSIGN_OR_RETURN(const MambaSpec mamba, read_mamba(keys, model));
  return LayerParts{.attention = false, .mixers = {mamba}, .network = false};
}

absl::StatusOr<LayerParts> mamba2_parts(ArchReader& keys, const ModelSpec& model, int64_t) {
  ASSIGN_OR_RETURN(const Mamba2Spec mamba, read_mamba2(keys, model));
  return LayerParts{.attention = false, .mixers = {mamba}, .network = false};
}

absl::StatusOr<LayerParts> jamba_parts(ArchReader& keys, const ModelSpec& model, int64_t layer) {
  ASSIGN_OR_RETURN(const bool attention, has_key_heads(keys, layer));
  if (attention) return LayerParts{};
  ASSIGN_OR_RETURN(const MambaSpec mamba, read_mamba(keys, model));
  return LayerParts{.attention = false, .mixers = {mamba}};
}

absl::StatusOr<LayerParts> falcon_h1_parts(ArchReader& keys, const ModelSpec& model, int64_t) {
  ASSIGN_OR_RETURN(const Mamba2Spec mamba, read_mamba2(keys, model));
  return LayerParts{.mixers = {mamba}};
}

absl::StatusOr<LayerParts> granite_parts(ArchReader& keys, const ModelSpec& model, int64_t layer) {
  ASSIGN_OR_RETURN(const bool attention, has_key_heads(keys, layer));
  if (attention) return LayerParts{};
  ASSIGN_OR_RETURN(const Mamba2Spec mamba, read_mamba2(keys, model));
  return LayerParts{.attention = false, .mixers = {mamba}};
}

// Each layer is one body behind one norm.
absl::StatusOr<LayerParts> nemotron_parts(ArchReader& keys, const ModelSpec& model, int64_t layer) {
  ASSIGN_OR_RETURN(const bool attention, has_key_heads(keys, layer));
  ASSIGN_OR_RETURN(const int64_t hidden,
                   keys.integer_of("feed_forward_length", layer, 0, INT32_MAX));
  if (attention && hidden > 0) {  // only those behind the last layer are both
    ASSIGN_OR_RETURN(const int64_t predictors,
                     keys.integer_or("nextn_predict_layers", 0, INT32_MAX, 0));
    ASSIGN_OR_RETURN(const int64_t layers, keys.layer_count());
    if (layer >= layers - predictors) return LayerParts{};
    return unimplemented("layer {} has attention and a network ('{}')", layer,
                         keys.name("feed_forward_length"));
  }
  if (attention) return LayerParts{.network = false};
  if (hidden > 0) return LayerParts{.attention = false};
  ASSIGN_OR_RETURN(const Mamba2Spec mamba, read_mamba2(keys, model));
  return LayerParts{.attention = false, .mixers = {mamba}, .network = false};
}

}  // namespace

// Mamba (Gu and Dao 2023; Falcon-Mamba norms its steps, B and C) and Mamba-2 (Dao and Gu 2024), of
// which all layers are; and hybrids of them with attention: Jamba (Lieber et al. 2024), Granite 4
// (IBM 2025), Falcon-H1, where both stand side by side (Zuo et al. 2025), and Nemotron-H, whose
// layers are one body each (NVIDIA 2025).
std::span<const Arch> known_state_space_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "mamba",
       .models = "Mamba, Falcon-Mamba",
       .traits = {.rope = false, .parts = mamba_parts}},
      {.name = "mamba2",
       .models = "Mamba-2, Codestral Mamba",
       .traits = {.rope = false, .parts = mamba2_parts}},
      {.name = "jamba",
       .models = "Jamba",
       .traits = {.rope = false, .moe = MoeTraits{.renormalise = false}, .parts = jamba_parts}},
      {.name = "falcon-h1", .models = "Falcon-H1", .traits = {.parts = falcon_h1_parts}},
      {.name = "granitehybrid",
       .models = "Granite 4 H",
       .traits = {.pairs = ops::Rope::Pairs::kNeighbours,
                  .moe = MoeTraits{},
                  .logit_scale_divides = true,
                  .parts = granite_parts},
       .adjust = adjust_granite},
      {.name = "nemotron_h",
       .models = "Nemotron-H, Nemotron Nano 2",
       .traits = {.rope = false,
                  .function = ops::ActivationFunction::Kind::kReluSquared,
                  .ffn_norm = "attn_norm",
                  .parts = nemotron_parts}},
      {.name = "nemotron_h_moe",
       .models = "Nemotron 3 Nano",
       .traits = {.rope = false,
                  .function = ops::ActivationFunction::Kind::kReluSquared,
                  .moe = MoeTraits{.score = ops::Routing::Score::kSigmoid, .gated = false},
                  .ffn_norm = "attn_norm",
                  .parts = nemotron_parts},
       .adjust = drop_predictors},
  };
  return kArchs;
}

}  // namespace millrace
