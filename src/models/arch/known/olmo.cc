#include "models/arch/arch.h"

namespace millrace {

// OLMoE has 64 experts (Muennighoff et al. 2024). OLMo 2 has norms behind its bodies only, and of
// all query heads and all key heads together (OLMo Team 2025); OLMo 3 windows in three of four
// layers, whose rope is not stretched.
std::span<const Arch> olmo_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "olmoe", .models = "OLMoE", .traits = {.moe = MoeTraits{.renormalise = false}}},
      {.name = "olmo2",
       .models = "OLMo 2, 3",
       .traits = {.local_rope_base = 0, .window_period = 4}},
  };
  return kArchs;
}

}  // namespace millrace
