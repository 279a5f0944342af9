#include "models/arch/arch.h"

namespace millrace {

absl::Status adjust_granite(ArchReader& keys, ModelSpec& model) {
  ASSIGN_OR_RETURN(const bool rotates, keys.boolean_or("rope.scaling.finetuned", true));
  if (rotates) return absl::OkStatus();
  for_each<AttentionSpec>(model, [](AttentionSpec& attention) { attention.rope.reset(); });
  return absl::OkStatus();
}

// Granite 3 and 4 (IBM): a Llama with scales of embeddings, scores, residuals and logits.
std::span<const Arch> granite_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "granite",
       .models = "Granite 3, 4 (dense)",
       .traits = {.pairs = ops::Rope::Pairs::kNeighbours, .logit_scale_divides = true},
       .adjust = adjust_granite},
      {.name = "granitemoe",
       .models = "Granite 3 MoE",
       .traits = {.pairs = ops::Rope::Pairs::kNeighbours,
                  .moe = MoeTraits{},
                  .logit_scale_divides = true},
       .adjust = adjust_granite},
  };
  return kArchs;
}

}  // namespace millrace
