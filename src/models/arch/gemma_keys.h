#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "models/arch/arch_reader.h"
#include "models/spec.h"

// What Gemma 3n and Gemma 4 have in common.

namespace millrace {

inline constexpr int64_t kLayerInputWidthMax = 1 << 16;

// An RMSNorm with the model's epsilon.
NormSpec model_rms_norm(const ModelSpec& model, std::string_view name);

// The attention of a layer that has one.
AttentionSpec& attention_of_layer(ModelSpec& model, int64_t layer);

// Scores are not scaled, and queries, keys and values have norms of each head.
void set_gemma_attention(const ArchReader& keys, ModelSpec& model, AttentionSpec& attention);

// Each layer ends with a stage of what it makes of its own input of the token, `width` wide.
void add_layer_inputs(int64_t width, KeptStream kept, ModelSpec& model);

// The last `shared` layers read the keys and values that the last layer before them of their own
// kind keeps, and keep nothing, though files may hold tensors for that. windowed: of each layer.
absl::Status share_caches(int64_t shared, const std::vector<bool>& windowed, ModelSpec& model);

}  // namespace millrace
