#pragma once

#include <cstdint>

#include "base/status.h"
#include "models/arch/arch_reader.h"
#include "models/arch/decoder.h"
#include "nn/attention/rope.h"

namespace millrace {

// The rope of layers that read all keys.
absl::StatusOr<RopeSpec> read_rope(ArchReader& keys, const DecoderTraits& traits, int32_t head_dim,
                                   int32_t context_max);
// That of layers with a window, where `rope` is the one of the others.
absl::StatusOr<RopeSpec> read_local_rope(ArchReader& keys, const DecoderTraits& traits,
                                         const RopeSpec& rope);

}  // namespace millrace
