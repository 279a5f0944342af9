#include <cmath>

#include "models/arch/arch.h"
#include "models/arch/known/recurrent/recurrent_keys.h"
#include "nn/recurrent/rg_lru.h"
#include "tensor/float_bits.h"

namespace millrace {
namespace {

constexpr int64_t kGriffinInnerMax = 1 << 20;
constexpr int64_t kGriffinHeadsMax = 4096;

absl::StatusOr<LayerParts> griffin_parts(ArchReader& keys, const ModelSpec& model, int64_t layer) {
  RgLruSpec unit = {.width = model.width};
  ASSIGN_OR_RETURN(unit.inner, keys.integer_or("lru.inner_size", 1, kGriffinInnerMax, model.width));
  ASSIGN_OR_RETURN(unit.conv_kernel, keys.integer("lru.conv_kernel", 1, kConvKernelMax));
  ASSIGN_OR_RETURN(unit.heads, keys.integer("lru.head_count", 1, kGriffinHeadsMax));
  if (unit.inner % unit.heads != 0) {
    return invalid_argument("key '{}' is {}, which does not divide the {} inner channels",
                            keys.name("lru.head_count"), unit.heads, unit.inner);
  }
  ASSIGN_OR_RETURN(const bool recurrent, is_recurrent(keys, layer, 3));
  if (!recurrent) return LayerParts{};
  return LayerParts{.attention = false, .mixers = {unit}};
}

// The authors' code keeps the root of the width in bfloat16.
absl::Status adjust(ArchReader& keys, ModelSpec& model) {
  // Of a model without attention they say nothing.
  for (const char* key : {"attention.key_length", "attention.value_length",
                          "attention.sliding_window", "rope.dimension_count", "rope.freq_base"}) {
    keys.pass_over(key);
  }
  const float root = std::sqrt(static_cast<float>(model.width));
  model.embedding_scale = f32_of_bf16(bf16_of_f32(root));
  return absl::OkStatus();
}

}  // namespace

// RecurrentGemma (Botev et al. 2024): Griffin (De et al. 2024), two recurrent blocks to each one of
// attention in a window.
std::span<const Arch> known_griffin_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "recurrent_gemma",
       .models = "RecurrentGemma 2B, 9B",
       .traits = {.window_period = 0,
                  .window = 2048,
                  .function = ops::ActivationFunction::Kind::kGeluTanh,
                  .parts = griffin_parts},
       .adjust = adjust},
  };
  return kArchs;
}

}  // namespace millrace
