#include "models/arch/arch.h"

namespace millrace {
namespace {

// Without a norm of its own the network runs beside attention, after the same norm.
absl::Status adjust_stablelm(ArchReader& keys, ModelSpec& model) {
  ASSIGN_OR_RETURN(const bool parallel,
                   keys.boolean_or("use_parallel_residual", !keys.has_tensor("ffn_norm.weight")));
  for (LayerSpec& layer : model.layers) {
    const StageSpec both = layer.stages[0];
    if (!parallel) layer.stages = {{both[0]}, {both[1]}};
  }
  return absl::OkStatus();
}

}  // namespace

// StableLM (Bellagamba et al. 2024): LayerNorm, a quarter of a head rotated, in the 12B norms of
// each head and both bodies side by side.
std::span<const Arch> stablelm_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "stablelm",
       .models = "StableLM 2, 3B, 12B",
       .traits = {.norm = NormSpec::Kind::kLayer,
                  .head_norm = NormSpec::Kind::kLayer,
                  .head_norm_of_each = true,
                  .parallel = true},
       .adjust = adjust_stablelm},
  };
  return kArchs;
}

}  // namespace millrace
