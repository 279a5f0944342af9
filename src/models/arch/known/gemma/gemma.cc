#include <cmath>

#include "models/arch/arch.h"

namespace millrace {
namespace {

// Files of before "attention.scale" was written: the largest models divide by the root of the
// width of a head that the stream would have, not of the heads that there are.
absl::Status adjust(ArchReader& keys, ModelSpec& model, size_t layers_of_largest) {
  model.embedding_scale = std::sqrt(static_cast<float>(model.width));
  if (keys.has("attention.scale") || model.layers.size() != layers_of_largest) {
    return absl::OkStatus();
  }
  for_each<AttentionSpec>(model, [&](AttentionSpec& attention) {
    attention.scale =
        1 / std::sqrt(static_cast<float>(model.width) / static_cast<float>(attention.heads));
  });
  return absl::OkStatus();
}

absl::Status adjust_gemma2(ArchReader& keys, ModelSpec& model) { return adjust(keys, model, 46); }
absl::Status adjust_gemma3(ArchReader& keys, ModelSpec& model) { return adjust(keys, model, 62); }

}  // namespace

// Gemma 1 to 3 (Gemma Team 2024, 2024, 2025): embeddings times the root of the width, gated GELU; 2
// has norms before and after each body, soft caps, and a window in every other layer; 3 has norms
// of heads in place of soft caps, five windowed layers to each other one, and two ropes.
std::span<const Arch> gemma_archs() {
  using enum ops::ActivationFunction::Kind;
  static constexpr Arch kArchs[] = {
      {.name = "gemma",
       .models = "Gemma 1",
       .traits = {.function = kGeluTanh},
       .adjust = adjust_gemma2},
      {.name = "gemma2",
       .models = "Gemma 2",
       .traits = {.window_period = 2, .window = 4096, .function = kGeluTanh},
       .adjust = adjust_gemma2},
      {.name = "gemma3",
       .models = "Gemma 3 (text)",
       .traits = {.local_rope_base = 10000, .window_period = 6, .function = kGeluTanh},
       .adjust = adjust_gemma3},
  };
  return kArchs;
}

}  // namespace millrace
