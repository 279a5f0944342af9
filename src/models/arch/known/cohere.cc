#include "models/arch/arch.h"

namespace millrace {

// Command R and Command R7B (Cohere): attention and network side by side after one LayerNorm
// without bias; logits are scaled. Of Command R+ each head has a norm of its own; of the second
// generation three of four layers have a window, and the fourth does not rotate.
std::span<const Arch> cohere_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "command-r",
       .models = "Command R, R+",
       .traits = {.norm = NormSpec::Kind::kLayer,
                  .head_norm = NormSpec::Kind::kLayer,
                  .head_norm_of_each = true,
                  .pairs = ops::Rope::Pairs::kNeighbours,
                  .parallel = true}},
      {.name = "cohere2",
       .models = "Command R7B, Command A",
       .traits = {.norm = NormSpec::Kind::kLayer,
                  .pairs = ops::Rope::Pairs::kNeighbours,
                  .rotates_windowed_only = true,
                  .window_period = 4,
                  .parallel = true}},
  };
  return kArchs;
}

}  // namespace millrace
