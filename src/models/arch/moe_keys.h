#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "models/arch/arch_reader.h"
#include "models/arch/decoder.h"

namespace millrace {

// Which of the model's layers have experts: those that have a router. None where the architecture
// has no mixtures.
std::vector<bool> layers_with_experts(const ArchReader& keys, const DecoderTraits& traits,
                                      int64_t layers);

// The mixture of the layers that have experts, of which `layer` is the first. Adds the slices of a
// fused matrix to the model.
absl::StatusOr<MoeSpec> read_moe(ArchReader& keys, const DecoderTraits& traits, int64_t layer,
                                 ModelSpec& model);

}  // namespace millrace
