#include "models/arch/arch.h"

namespace millrace {

// Phi 1 to 2 run attention and network side by side after one LayerNorm (Javaheripi et al. 2023);
// Phi 3 and 4 are Llamas with fused matrices, and LongRoPE where the context is long (Abdin et al.
// 2024), and in Phi-3.5-MoE experts and LayerNorms.
std::span<const Arch> phi_archs() {
  using enum ops::ActivationFunction::Kind;
  static constexpr Arch kArchs[] = {
      {.name = "phi2",
       .models = "Phi 1, 1.5, 2",
       .traits = {.norm = NormSpec::Kind::kLayer, .function = kGeluTanh, .parallel = true}},
      {.name = "phi3", .models = "Phi 3, 3.5, 4", .traits = {.window_period = 0}},
      // The threshold is twice the noise that its router was trained with.
      {.name = "phimoe",
       .models = "Phi 3.5 MoE",
       .traits = {.norm = NormSpec::Kind::kLayer,
                  .window_period = 0,
                  .moe = MoeTraits{.score = ops::Routing::Score::kSparsemixer,
                                   .renormalise = false,
                                   .threshold = 0.02F}}},
  };
  return kArchs;
}

}  // namespace millrace
