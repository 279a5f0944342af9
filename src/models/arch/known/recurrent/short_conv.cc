#include "nn/recurrent/short_conv.h"

#include "models/arch/arch.h"
#include "models/arch/known/recurrent/recurrent_keys.h"

namespace millrace {
namespace {

absl::StatusOr<LayerParts> short_conv_parts(ArchReader& keys, const ModelSpec& model,
                                            int64_t layer) {
  ASSIGN_OR_RETURN(const int64_t kernel, keys.integer("shortconv.l_cache", 1, kConvKernelMax));
  ASSIGN_OR_RETURN(const bool attention, has_key_heads(keys, layer));
  if (attention) return LayerParts{};
  const int64_t first = keys.first_layer_with("shortconv.in_proj.weight");
  const ShortConvSpec conv = {
      .width = model.width,
      .conv_kernel = kernel,
      .biases = keys.find_tensor("shortconv.in_proj.bias", first) != nullptr};
  return LayerParts{.attention = false, .mixers = {conv}};
}

}  // namespace

// LFM2 and LFM3 (Liquid AI 2025): gated short convolutions, and some layers of attention; those of
// LFM3 have gates, norms behind each body, and in part windows.
std::span<const Arch> known_short_conv_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "lfm2",
       .models = "LFM2",
       .traits = {.output_norm = "token_embd_norm", .parts = short_conv_parts}},
      {.name = "lfm2moe",
       .models = "LFM2 8B-A1B",
       .traits = {.moe = MoeTraits{.score = ops::Routing::Score::kSigmoid},
                  .output_norm = "token_embd_norm",
                  .parts = short_conv_parts}},
      {.name = "lfm3",
       .models = "LFM3",
       .traits = {.local_rope_base = 10000, .window_period = 0, .parts = short_conv_parts}},
  };
  return kArchs;
}

}  // namespace millrace
