#include <cmath>

#include "models/arch/arch.h"
#include "nn/recurrent/linear_attention.h"

namespace millrace {
namespace {

constexpr int64_t kRetnetHeadsMax = 4096;
constexpr int64_t kRetnetValueDimMax = 1 << 16;

// Every head has a query, a key and a value of its own; values may be wider than keys.
absl::StatusOr<LayerParts> retnet_parts(ArchReader& keys, const ModelSpec& model, int64_t) {
  ASSIGN_OR_RETURN(const int64_t heads, keys.integer("attention.head_count", 1, kRetnetHeadsMax));
  ASSIGN_OR_RETURN(const int64_t kv_heads,
                   keys.integer_or("attention.head_count_kv", 1, heads, heads));
  if (kv_heads != heads) {
    return unimplemented("key '{}' is {}, but only {} are supported, as many as heads",
                         keys.name("attention.head_count_kv"), kv_heads, heads);
  }
  ASSIGN_OR_RETURN(const int64_t key_dim,
                   keys.integer_or("attention.key_length", 2, kStateRowsMax, model.width / heads));
  if (key_dim < 2 || key_dim % 2 != 0) {
    return invalid_argument("key '{}' is {}, but keys that rotate have an even number of elements",
                            keys.name("attention.key_length"), key_dim);
  }
  ASSIGN_OR_RETURN(const int64_t value_dim,
                   keys.integer_or("attention.value_length", 1, kRetnetValueDimMax, key_dim));
  ASSIGN_OR_RETURN(const double base, keys.positive_or("rope.freq_base", 10000));
  LinearAttentionSpec retention;
  retention.width = model.width;
  retention.heads = heads;
  retention.key_dim = key_dim;
  retention.value_dim = value_dim;
  retention.normaliser = LinearAttentionSpec::Normaliser::kRootOfDecays;
  retention.decays = retention_decays(heads);
  retention.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(key_dim)));
  retention.rope = retention_rope(static_cast<int32_t>(key_dim), base);
  retention.norm = {.kind = NormSpec::Kind::kRms,
                    .name = "",
                    .epsilon = model.output_norm.epsilon,
                    .has_weight = false};
  retention.norm_heads = true;
  retention.gate = LinearAttentionSpec::Gate::kSilu;
  return LayerParts{.attention = false, .mixers = {retention}};
}

}  // namespace

// RetNet (Sun et al. 2023) as its authors' torchscale has it: retention and a gated network.
std::span<const Arch> known_retnet_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "retnet",
       .models = "RetNet",
       .traits = {.rope = false,
                  .function = ops::ActivationFunction::Kind::kGelu,
                  .parts = retnet_parts}},
  };
  return kArchs;
}

}  // namespace millrace
