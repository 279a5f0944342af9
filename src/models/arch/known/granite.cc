#include "models/arch/arch.h"

namespace millrace {

// Granite 3 and 4 (IBM): a Llama with scales of embeddings, scores, residuals and logits.
std::span<const Arch> granite_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "granite",
       .models = "Granite 3, 4 (dense)",
       .traits = {.pairs = ops::Rope::Pairs::kNeighbours, .logit_scale_divides = true}},
      {.name = "granitemoe",
       .models = "Granite 3 MoE",
       .traits = {.pairs = ops::Rope::Pairs::kNeighbours,
                  .moe = MoeTraits{},
                  .logit_scale_divides = true}},
  };
  return kArchs;
}

}  // namespace millrace
