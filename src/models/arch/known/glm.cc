#include "models/arch/arch.h"

namespace millrace {

// GLM 4 of April 2025 (Zhipu AI): norms before and behind each body, half of a head rotated.
std::span<const Arch> glm_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "glm4", .models = "GLM-4-0414", .traits = {.pairs = ops::Rope::Pairs::kNeighbours}},
  };
  return kArchs;
}

}  // namespace millrace
