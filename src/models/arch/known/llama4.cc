#include "models/arch/arch.h"

namespace millrace {
namespace {

// The one published model without norms of heads has so many experts, and no key that says so.
constexpr int64_t kExpertsWithoutNorms = 128;

absl::Status adjust_llama4(ArchReader& keys, ModelSpec& model) {
  ASSIGN_OR_RETURN(const double temperature, keys.number_or("attention.temperature_scale", 0.1));
  ASSIGN_OR_RETURN(const int64_t length,
                   keys.integer_or("attention.temperature_length", 1, INT32_MAX, 8192));
  ASSIGN_OR_RETURN(const int64_t experts, keys.integer_or("expert_count", 0, INT32_MAX, 0));
  ASSIGN_OR_RETURN(const bool norms,
                   keys.boolean_or("attention.use_qk_norm", experts != kExpertsWithoutNorms));
  const NormSpec norm = {.kind = NormSpec::Kind::kRms,
                         .name = "",
                         .epsilon = model.output_norm.epsilon,
                         .has_weight = false};
  for_each<AttentionSpec>(model, [&](AttentionSpec& attention) {
    attention.chunk = attention.window;
    attention.window = 0;
    if (attention.rope) {
      if (norms) attention.norms = {.query = norm, .key = norm, .after_rotation = true};
    } else {
      attention.temperature = static_cast<float>(temperature);
      attention.temperature_length = static_cast<int32_t>(length);
      attention.temperature_offset = 1;
    }
  });
  return absl::OkStatus();
}

}  // namespace

// Llama 4 (Meta 2025): three of four layers read chunks of the context and rotate, with norms of
// heads behind the rotation; the fourth reads all of it, and scales queries by their position. One
// expert and a shared one; the router weighs the expert's input.
std::span<const Arch> llama4_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "llama4",
       .models = "Llama 4 (text)",
       .traits = {.pairs = ops::Rope::Pairs::kNeighbours,
                  .unrotated_period = 4,
                  .window_period = 4,
                  .window = 8192,
                  .moe = MoeTraits{.score = ops::Routing::Score::kSigmoid,
                                   .after_choice = true,
                                   .renormalise = false,
                                   .weighs_inputs = true}},
       .adjust = adjust_llama4},
  };
  return kArchs;
}

}  // namespace millrace
