#include "models/arch/arch.h"

namespace millrace {
namespace {

using enum ops::ActivationFunction::Kind;

// Its files do not say it.
absl::Status adjust_bloom(ArchReader&, ModelSpec& model) {
  for_each<AttentionSpec>(model, [](AttentionSpec& attention) { attention.alibi_bias_max = 8; });
  return absl::OkStatus();
}

}  // namespace

// Decoders whose positions are ALiBi's biases: BLOOM (BigScience 2022) and MPT (MosaicML 2023).
std::span<const Arch> bloom_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "bloom",
       .models = "BLOOM, BLOOMZ",
       .traits = {.norm = NormSpec::Kind::kLayer, .rope = false, .function = kGeluTanh},
       .adjust = adjust_bloom},
      {.name = "mpt",
       .models = "MPT",
       .traits = {.norm = NormSpec::Kind::kLayer, .rope = false, .function = kGelu}},
  };
  return kArchs;
}

}  // namespace millrace
