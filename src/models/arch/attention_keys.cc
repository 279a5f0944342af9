#include "models/arch/attention_keys.h"

#include <algorithm>
#include <cmath>

#include "tensor/kv_layer.h"

namespace millrace {
namespace {

// Bounds far above every published model, so that products of two dimensions fit into int64 and a
// lie in a file is named instead of tried.
constexpr int64_t kHeadsMax = 4096;
constexpr int64_t kHeadWidthMax = 1 << 20;
constexpr int64_t kWindowMax = 1 << 30;

absl::StatusOr<int32_t> read_head_dim(ArchReader& keys, int64_t width, int64_t heads) {
  if (!keys.has("attention.key_length") && width % heads != 0) {
    return invalid_argument("key '{}' is {}, which does not divide the width {}",
                            keys.name("attention.head_count"), heads, width);
  }
  ASSIGN_OR_RETURN(const int64_t key_length,
                   keys.integer_or("attention.key_length", 2, kHeadWidthMax, width / heads));
  if (key_length < 2 || key_length > kHeadDimMax) {
    return unimplemented("heads of {} dimensions ('{}'): supported are 2 to {}", key_length,
                         keys.name("attention.key_length"), kHeadDimMax);
  }
  ASSIGN_OR_RETURN(const int64_t value_length,
                   keys.integer_or("attention.value_length", 2, kHeadWidthMax, key_length));
  if (key_length != value_length) {
    return unimplemented("keys of {} and values of {} dimensions in a head ('{}')", key_length,
                         value_length, keys.name("attention.value_length"));
  }
  return static_cast<int32_t>(key_length);
}

absl::Status read_heads(ArchReader& keys, int64_t width, int64_t layer, AttentionSpec& spec) {
  ASSIGN_OR_RETURN(const int64_t heads,
                   keys.integer_of("attention.head_count", layer, 1, kHeadsMax));
  ASSIGN_OR_RETURN(const int64_t kv_heads,
                   keys.integer_of_or("attention.head_count_kv", layer, 1, heads, heads));
  if (heads % kv_heads != 0) {
    return invalid_argument("key '{}' is {}, which does not divide the {} query heads",
                            keys.name("attention.head_count_kv"), kv_heads, heads);
  }
  spec.heads = static_cast<int32_t>(heads);
  spec.kv_heads = static_cast<int32_t>(kv_heads);
  ASSIGN_OR_RETURN(spec.head_dim, read_head_dim(keys, width, heads));
  return absl::OkStatus();
}

// 0: none of the layers has one. It may be longer than the context.
absl::StatusOr<int32_t> read_window(ArchReader& keys, const DecoderTraits& traits,
                                    int32_t context_max) {
  constexpr std::string_view kKey = "attention.sliding_window";
  constexpr std::string_view kPattern = "attention.sliding_window_pattern";
  ASSIGN_OR_RETURN(const int64_t window, keys.integer_or(kKey, 0, kWindowMax, traits.window));
  if (window == 0) {
    keys.pass_over(kPattern);
    return 0;
  }
  if (traits.window_period < 0 && !keys.has(kPattern)) {
    if (window >= context_max) return 0;
    return unimplemented("key '{}': sliding windows are not known of this architecture",
                         keys.name(kKey));
  }
  return static_cast<int32_t>(window);
}

absl::Status read_scores(ArchReader& keys, AttentionSpec& spec) {
  ASSIGN_OR_RETURN(double scale, keys.number_or("attention.scale", 0));
  if (scale == 0) scale = 1 / std::sqrt(double{1} * spec.head_dim);  // the usual one
  if (!(scale > 0)) {
    return invalid_argument("key '{}' is {}, but must be positive", keys.name("attention.scale"),
                            scale);
  }
  spec.scale = static_cast<float>(scale);
  for (const auto& [key, value] : {std::pair{"attn_logit_softcapping", &spec.softcap},
                                   std::pair{"attention.max_alibi_bias", &spec.alibi_bias_max}}) {
    ASSIGN_OR_RETURN(const double number, keys.number_or(key, 0));
    if (number < 0) {
      return invalid_argument("key '{}' is {}, but must not be negative", keys.name(key), number);
    }
    *value = static_cast<float>(number);
  }
  return absl::OkStatus();
}

void read_norms(const ArchReader& keys, const DecoderTraits& traits, float epsilon, int64_t layer,
                AttentionSpec& spec) {
  QueryKeyNormSpec& norms = spec.norms;
  norms.query = norm_at(keys, traits.head_norm, "attn_q_norm", epsilon, layer);
  if (!norms.query) return;
  norms.key = norms.query;
  norms.key.name = "attn_k_norm";
  norms.after_rotation = traits.head_norm_after_rotation;
  const NamedTensor* weight = keys.find_tensor("attn_q_norm.weight", layer);
  if (weight == nullptr || weight->layout.elements() == spec.head_dim) return;
  norms.scope = traits.head_norm_of_each ? QueryKeyNormSpec::Scope::kEachHead
                                         : QueryKeyNormSpec::Scope::kAllHeads;
}

// Queries, keys and values in one matrix, in this order.
void slice_fused(const ArchReader& keys, const AttentionSpec& spec, int64_t layer,
                 ModelSpec& model) {
  if (keys.find_tensor("attn_qkv.weight", layer) == nullptr) return;
  const int64_t rows = spec.query_width() + 2 * spec.kv_width();
  int64_t first = 0;
  for (const auto& [name, own] :
       {std::pair{"attn_q", spec.query_width()}, std::pair{"attn_k", spec.kv_width()},
        std::pair{"attn_v", spec.kv_width()}}) {
    for (const char* part : {"weight", "bias"}) {
      model.slices.push_back({.name = fmt::format("{}.{}", name, part),
                              .source = fmt::format("attn_qkv.{}", part),
                              .first_row = first,
                              .source_rows = rows});
    }
    first += own;
  }
}

}  // namespace

NormSpec norm_at(const ArchReader& keys, NormSpec::Kind kind, std::string_view name, float epsilon,
                 int64_t layer) {
  const auto has = [&](std::string_view part) {
    return keys.find_tensor(fmt::format("{}.{}", name, part), layer) != nullptr;
  };
  if (!has("weight")) return {};
  return {.kind = kind, .name = name, .epsilon = epsilon, .has_bias = has("bias")};
}

absl::StatusOr<AttentionSpec> read_attention(ArchReader& keys, const DecoderTraits& traits,
                                             int64_t layer, ModelSpec& model) {
  AttentionSpec spec = {.width = model.width};
  RETURN_IF_ERROR(read_heads(keys, model.width, layer, spec));
  ASSIGN_OR_RETURN(spec.window, read_window(keys, traits, model.context_max));
  RETURN_IF_ERROR(read_scores(keys, spec));
  const auto has = [&](std::string_view tensor) {
    return keys.find_tensor(tensor, layer) != nullptr;
  };
  spec.biases = has("attn_q.bias") || has("attn_qkv.bias");
  spec.output_bias = has("attn_output.bias");
  spec.sinks = has("attn_sinks.weight");
  if (traits.gated_queries) {
    spec.gate = AttentionSpec::Gate::kElements;
  } else if (has("attn_gate.weight")) {
    spec.gate = AttentionSpec::Gate::kHeads;
  }
  const float epsilon = model.output_norm.epsilon;
  read_norms(keys, traits, epsilon, layer, spec);
  spec.output_norm = norm_at(keys, traits.norm, "attn_sub_norm", epsilon, layer);
  slice_fused(keys, spec, layer, model);
  return spec;
}

absl::StatusOr<AttentionSpec> with_heads_of(ArchReader& keys, int64_t layer,
                                            const AttentionSpec& attention) {
  AttentionSpec own = attention;
  RETURN_IF_ERROR(read_heads(keys, attention.width, layer, own));
  return own;
}

absl::StatusOr<std::vector<bool>> read_windowed_layers(ArchReader& keys,
                                                       const DecoderTraits& traits, int64_t layers,
                                                       int32_t window) {
  std::vector<bool> windowed(static_cast<size_t>(layers), window > 0);
  if (window == 0) return windowed;
  constexpr std::string_view kKey = "attention.sliding_window_pattern";
  if (keys.is_array(kKey)) return keys.booleans(kKey, layers);
  ASSIGN_OR_RETURN(const int64_t period,
                   keys.integer_or(kKey, 0, INT32_MAX, std::max(0, traits.window_period)));
  for (int64_t layer = 0; layer < layers && period > 0; ++layer) {
    windowed[static_cast<size_t>(layer)] = layer % period < period - 1;
  }
  return windowed;
}

absl::StatusOr<std::vector<bool>> read_rotated_layers(ArchReader& keys, const DecoderTraits& traits,
                                                      const std::vector<bool>& windowed,
                                                      int32_t window) {
  const int64_t layers = std::ssize(windowed);
  if (!traits.rope) return std::vector<bool>(windowed.size(), false);
  if (keys.has("attention.rope_pattern")) return keys.booleans("attention.rope_pattern", layers);
  if (traits.rotates_windowed_only && window > 0) return windowed;
  std::vector<bool> rotated(windowed.size(), true);
  for (int64_t layer = 0; layer < layers && traits.unrotated_period > 0; ++layer) {
    rotated[static_cast<size_t>(layer)] = (layer + 1) % traits.unrotated_period != 0;
  }
  return rotated;
}

}  // namespace millrace
