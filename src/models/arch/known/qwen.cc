#include "models/arch/arch.h"

namespace millrace {

// Qwen 2 and 2.5 have biases on queries, keys and values (Yang et al. 2024); Qwen 3 has norms of
// heads in their place (Yang et al. 2025).
std::span<const Arch> qwen_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "qwen2", .models = "Qwen 1.5 to 2.5", .traits = {}},
      {.name = "qwen2moe",
       .models = "Qwen 1.5, 2 MoE",
       .traits = {.moe = MoeTraits{.renormalise = false}}},
      {.name = "qwen3", .models = "Qwen 3", .traits = {}},
      {.name = "qwen3moe", .models = "Qwen 3 MoE", .traits = {.moe = MoeTraits{}}},
  };
  return kArchs;
}

}  // namespace millrace
