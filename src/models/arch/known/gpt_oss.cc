#include "models/arch/arch.h"

namespace millrace {
namespace {

// What its files do not say: SwiGLU with clamped inputs, and YaRN whose ramp begins and ends
// between pairs.
absl::Status adjust_gpt_oss(ArchReader&, ModelSpec& model) {
  for_each<MoeSpec>(model, [](MoeSpec& moe) {
    moe.function.alpha = 1.702F;
    moe.function.limit = 7;
  });
  for_each<AttentionSpec>(
      model, [](AttentionSpec& attention) { attention.rope->scaling.whole_pairs = false; });
  return absl::OkStatus();
}

}  // namespace

// gpt-oss (OpenAI 2025): experts with biases, chosen before the softmax; attention sinks; a window
// in every other layer.
std::span<const Arch> gpt_oss_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "gpt-oss",
       .models = "gpt-oss 20B, 120B",
       .traits = {.window_period = 2,
                  .function = ops::ActivationFunction::Kind::kClampedSwiglu,
                  .moe = MoeTraits{.after_choice = true, .renormalise = false},
                  .ffn_norm = "post_attention_norm"},
       .adjust = adjust_gpt_oss},
  };
  return kArchs;
}

}  // namespace millrace
