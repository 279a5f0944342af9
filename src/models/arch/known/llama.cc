#include "models/arch/arch.h"

namespace millrace {
namespace {

using enum ops::Rope::Pairs;

// Ministral 3 scales queries by their position (Llama 4's rule); the context that YaRN stretched is
// the length of its steps.
absl::Status adjust_mistral3(ArchReader& keys, ModelSpec& model) {
  ASSIGN_OR_RETURN(const double temperature, keys.number_or("attention.temperature_scale", 0));
  if (temperature == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int64_t length,
                   keys.integer("rope.scaling.original_context_length", 1, INT32_MAX));
  for_each<AttentionSpec>(model, [&](AttentionSpec& attention) {
    attention.temperature = static_cast<float>(temperature);
    attention.temperature_length = static_cast<int32_t>(length);
  });
  return absl::OkStatus();
}

}  // namespace

// Llama 1 to 3, SmolLM2, Mistral and Mixtral, and what differs from them in a line. Where
// converters permute the rows of queries and keys, rotated pairs are neighbours.
std::span<const Arch> llama_archs() {
  using enum ops::ActivationFunction::Kind;
  static constexpr Arch kArchs[] = {
      {.name = "llama",
       .models = "Llama 1 to 3, SmolLM2, Mistral, Mixtral",
       .traits = {.pairs = kNeighbours, .window_period = 0, .moe = MoeTraits{}}},
      {.name = "arcee",
       .models = "AFM 4.5B",
       .traits = {.pairs = kNeighbours, .function = kReluSquared}},
      {.name = "bitnet", .models = "BitNet b1.58", .traits = {.function = kReluSquared}},
      {.name = "ernie4_5", .models = "ERNIE 4.5 0.3B", .traits = {.pairs = kNeighbours}},
      {.name = "ernie4_5-moe",
       .models = "ERNIE 4.5 21B-A3B, 300B-A47B",
       .traits = {.pairs = kNeighbours, .moe = MoeTraits{}}},
      {.name = "hunyuan-dense",
       .models = "Hunyuan dense",
       .traits = {.head_norm_after_rotation = true}},
      {.name = "mistral3",
       .models = "Ministral 3",
       .traits = {.pairs = kNeighbours, .window_period = 0},
       .adjust = adjust_mistral3},
      {.name = "seed_oss", .models = "Seed-OSS", .traits = {.ffn_norm = "post_attention_norm"}},
      {.name = "smollm3",
       .models = "SmolLM3",
       .traits = {.pairs = kNeighbours, .unrotated_period = 4}},
  };
  return kArchs;
}

}  // namespace millrace
