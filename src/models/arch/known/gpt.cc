#include "models/arch/arch.h"

namespace millrace {
namespace {

using enum ops::ActivationFunction::Kind;
constexpr auto kLayerNorm = NormSpec::Kind::kLayer;

// One stage where the file says that attention and network read the same stream, else two.
absl::Status adjust_gptneox(ArchReader& keys, ModelSpec& model) {
  ASSIGN_OR_RETURN(const bool parallel, keys.boolean_or("use_parallel_residual", true));
  if (parallel) return absl::OkStatus();
  for (LayerSpec& layer : model.layers) {
    const StageSpec both = layer.stages[0];
    layer.stages = {{both[0]}, {both[1]}};
  }
  return absl::OkStatus();
}

}  // namespace

// GPT-2 (Radford et al. 2019) and its relatives: LayerNorms with biases, a network without a gate.
// GPT-2 and OPT (Zhang et al. 2022) learn their positions; GPT-J and GPT-NeoX (Black et al. 2022)
// rotate part of a head and run both bodies side by side; StarCoder2 (Lozhkov et al. 2024) has a
// window.
std::span<const Arch> gpt_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "gpt2",
       .models = "GPT-2",
       .traits = {.norm = kLayerNorm, .rope = false, .function = kGeluTanh}},
      {.name = "gptj",
       .models = "GPT-J",
       .traits = {.norm = kLayerNorm,
                  .pairs = ops::Rope::Pairs::kNeighbours,
                  .function = kGeluTanh,
                  .parallel = true}},
      {.name = "gptneox",
       .models = "GPT-NeoX, Pythia",
       .traits = {.norm = kLayerNorm, .function = kGelu, .parallel = true},
       .adjust = adjust_gptneox},
      {.name = "opt",
       .models = "OPT",
       .traits = {.norm = kLayerNorm, .rope = false, .function = kRelu}},
      {.name = "starcoder2",
       .models = "StarCoder2",
       .traits = {.norm = kLayerNorm, .window_period = 0, .function = kGeluTanh}},
  };
  return kArchs;
}

}  // namespace millrace
