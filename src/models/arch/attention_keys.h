#pragma once

#include <cstdint>

#include "base/status.h"
#include "models/arch/arch_reader.h"
#include "models/arch/decoder.h"

namespace millrace {

// Heads, scales, biases, norms and the window, of a layer that has one. Everything but the rope.
// `layer` is the first that has attention: its tensors say which biases and norms all have. Adds
// the slices of a fused matrix to the model.
absl::StatusOr<AttentionSpec> read_attention(ArchReader& keys, const DecoderTraits& traits,
                                             int64_t layer, ModelSpec& model);
// The same attention with the numbers of heads of another layer.
absl::StatusOr<AttentionSpec> with_heads_of(ArchReader& keys, int64_t layer,
                                            const AttentionSpec& attention);
// Which of the model's layers have a window.
absl::StatusOr<std::vector<bool>> read_windowed_layers(ArchReader& keys,
                                                       const DecoderTraits& traits, int64_t layers,
                                                       int32_t window);
// Which of them rotate queries and keys, where those with a window have this one.
absl::StatusOr<std::vector<bool>> read_rotated_layers(ArchReader& keys, const DecoderTraits& traits,
                                                      const std::vector<bool>& windowed,
                                                      int32_t window);

// A norm that the file has tensors for, of this layer or outside of all, or none.
NormSpec norm_at(const ArchReader& keys, NormSpec::Kind kind, std::string_view name, float epsilon,
                 int64_t layer = 0);

}  // namespace millrace
