#pragma once

#include <cstdint>

#include "base/status.h"
#include "models/arch/arch_reader.h"
#include "models/spec.h"
#include "nn/recurrent/delta_net.h"
#include "nn/recurrent/mamba.h"
#include "nn/recurrent/mamba2.h"

// Recurrent units by the keys that the architectures share. Which biases and norms they have is
// told by the first layer that has such a unit.

namespace millrace {

absl::StatusOr<MambaSpec> read_mamba(ArchReader& keys, const ModelSpec& model);
absl::StatusOr<Mamba2Spec> read_mamba2(ArchReader& keys, const ModelSpec& model);
absl::StatusOr<DeltaNetSpec> read_delta_net(ArchReader& keys, const ModelSpec& model);
// Kimi delta attention, whose heads may be others in each layer.
absl::StatusOr<DeltaNetSpec> read_kimi_delta_net(ArchReader& keys, const ModelSpec& model,
                                                 int64_t layer);

// Whether a layer has attention where those that have none say that they have no keys' heads.
absl::StatusOr<bool> has_key_heads(ArchReader& keys, int64_t layer);
// Where a list says it, or every n-th layer has attention.
absl::StatusOr<bool> is_recurrent(ArchReader& keys, int64_t layer, int64_t usual_interval);

}  // namespace millrace
