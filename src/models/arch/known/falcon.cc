#include "models/arch/arch.h"

namespace millrace {
namespace {

// Where there are two norms, attention reads the second.
absl::Status adjust_falcon(ArchReader& keys, ModelSpec& model) {
  if (!keys.has_tensor("attn_norm_2.weight")) return absl::OkStatus();
  for (LayerSpec& layer : model.layers) {
    NormSpec& norm = layer.stages[0][0].pre_norm;
    norm.name = "attn_norm_2";
    norm.has_bias = keys.has_tensor("attn_norm_2.bias");
  }
  return absl::OkStatus();
}

}  // namespace

// Falcon (Almazrouei et al. 2023): attention and network side by side, without biases.
std::span<const Arch> falcon_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "falcon",
       .models = "Falcon 7B to 180B",
       .traits = {.norm = NormSpec::Kind::kLayer,
                  .function = ops::ActivationFunction::Kind::kGelu,
                  .parallel = true,
                  .layout = "jploski"},
       .adjust = adjust_falcon},
  };
  return kArchs;
}

}  // namespace millrace
