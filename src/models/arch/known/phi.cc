#include "models/arch/arch.h"

namespace millrace {

// Phi 1 to 2 run attention and network side by side after one LayerNorm (Javaheripi et al. 2023);
// Phi 3 and 4 are Llamas with fused matrices, and LongRoPE where the context is long (Abdin et al.
// 2024).
std::span<const Arch> phi_archs() {
  using enum ops::ActivationFunction::Kind;
  static constexpr Arch kArchs[] = {
      {.name = "phi2",
       .traits = {.norm = NormSpec::Kind::kLayer, .function = kGeluTanh, .parallel = true}},
      {.name = "phi3", .traits = {.window_period = 0}},
  };
  return kArchs;
}

}  // namespace millrace
