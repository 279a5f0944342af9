#include "models/arch/arch.h"

namespace millrace {

// Nemotron 4 and Minitron (NVIDIA 2024): LayerNorm, squared ReLU without a gate, half of a head
// rotated.
std::span<const Arch> nemotron_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "nemotron",
       .models = "Nemotron 4, Minitron",
       .traits = {.norm = NormSpec::Kind::kLayer,
                  .function = ops::ActivationFunction::Kind::kReluSquared}},
  };
  return kArchs;
}

}  // namespace millrace
