#include "models/arch/rope_keys.h"

#include "base/log.h"

namespace millrace {
namespace {

// A number that asks for what is done anyway where it is `usual`, or -1.
absl::Status check_is_usual(ArchReader& keys, std::string_view key, double usual) {
  ASSIGN_OR_RETURN(const double value, keys.number_or(key, usual));
  if (value == usual || value == -1) return absl::OkStatus();
  return unimplemented("key '{}' is {}: only {} is supported", keys.name(key), value, usual);
}

absl::StatusOr<double> yarn_beta(ArchReader& keys, std::string_view key, double usual) {
  ASSIGN_OR_RETURN(const double value, keys.number_or(key, usual));
  if (value == -1) return usual;
  if (value > 0) return value;
  return invalid_argument("key '{}' is {}, but must be positive", keys.name(key), value);
}

// What multiplies cosine and sine. With a multiplier of the logarithm the scores of a stretched
// context are scaled by the ratio of two such magnitudes (DeepSeek-V2's code, section `yarn`).
absl::StatusOr<double> read_yarn_magnitude(ArchReader& keys, double factor) {
  ASSIGN_OR_RETURN(const double attention_factor, keys.positive_or("rope.scaling.attn_factor", 1));
  ASSIGN_OR_RETURN(const double multiplier, keys.number_or("rope.scaling.yarn_log_multiplier", 0));
  const double magnitude = attention_factor * yarn_magnitude(factor);
  return multiplier == 0 ? magnitude : magnitude / yarn_magnitude(factor, multiplier);
}

absl::Status read_yarn(ArchReader& keys, int32_t context_max, RopeSpec& rope) {
  RopeScaling& scaling = rope.scaling;
  scaling.kind = RopeScaling::Kind::kYarn;
  ASSIGN_OR_RETURN(scaling.original_context,
                   keys.positive_or("rope.scaling.original_context_length", context_max));
  ASSIGN_OR_RETURN(scaling.beta_fast, yarn_beta(keys, "rope.scaling.yarn_beta_fast", 32));
  ASSIGN_OR_RETURN(scaling.beta_slow, yarn_beta(keys, "rope.scaling.yarn_beta_slow", 1));
  ASSIGN_OR_RETURN(rope.magnitude, read_yarn_magnitude(keys, scaling.factor));
  return check_is_usual(keys, "rope.scaling.yarn_ext_factor", 1);
}

absl::Status read_scaling(ArchReader& keys, int32_t context_max, RopeSpec& rope) {
  RopeScaling& scaling = rope.scaling;
  ASSIGN_OR_RETURN(const double legacy, keys.number_or("rope.scale_linear", 1));
  ASSIGN_OR_RETURN(double factor, keys.number_or("rope.scaling.factor", legacy));
  if (factor == 0) factor = 1;  // as converters say that there is none
  if (!(factor > 0)) {
    return invalid_argument(
        "key '{}' is {}, but must be positive",
        keys.name(keys.has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear"),
        factor);
  }
  ASSIGN_OR_RETURN(const std::string_view kind, keys.string_or("rope.scaling.type", "linear"));
  const bool is_long = kind == "longrope" && keys.has_tensor("rope_factors_long.weight");
  if (kind == "none" || is_long) return absl::OkStatus();
  scaling.factor = factor;
  if (kind == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
    return absl::OkStatus();
  }
  if (kind != "yarn") {
    return unimplemented(
        "key '{}': rope scaling '{}' is not supported; supported are: none, "
        "linear, yarn",
        keys.name("rope.scaling.type"), escape_for_log(kind.substr(0, 40)));
  }
  return read_yarn(keys, context_max, rope);
}

// LongRoPE (Ding et al. 2024): one of two tensors of divisors, of which the model's context, as
// trained, decides, so that an answer does not depend on how long it becomes.
absl::Status read_factors(ArchReader& keys, int32_t context_max, RopeSpec& rope) {
  if (keys.checkpoint().find("rope_freqs.weight") != nullptr) rope.factors = "rope_freqs.weight";
  if (!keys.has_tensor("rope_factors_long.weight")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const double original,
                   keys.positive_or("rope.scaling.original_context_length", context_max));
  ASSIGN_OR_RETURN(rope.magnitude, keys.positive_or("rope.scaling.attn_factor", 1));
  const bool is_long = context_max > original;
  rope.factors = is_long ? "rope_factors_long.weight" : "rope_factors_short.weight";
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RopeSpec> read_rope(ArchReader& keys, const DecoderTraits& traits, int32_t head_dim,
                                   int32_t context_max) {
  RopeSpec rope;
  rope.pairs = traits.pairs;
  ASSIGN_OR_RETURN(const int64_t rotated,
                   keys.integer_or("rope.dimension_count", 2, head_dim, head_dim));
  if (rotated % 2 != 0) {
    return invalid_argument("key '{}' is {}, but rotated dimensions come in pairs",
                            keys.name("rope.dimension_count"), rotated);
  }
  rope.rotated = static_cast<int32_t>(rotated);
  ASSIGN_OR_RETURN(rope.base, keys.positive_or("rope.freq_base", 10000));
  if (rope.base <= 1) {
    return invalid_argument("key '{}' is {}, but must be above 1", keys.name("rope.freq_base"),
                            rope.base);
  }
  RETURN_IF_ERROR(read_scaling(keys, context_max, rope));
  RETURN_IF_ERROR(read_factors(keys, context_max, rope));
  return rope;
}

absl::StatusOr<RopeSpec> read_local_rope(ArchReader& keys, const DecoderTraits& traits,
                                         const RopeSpec& rope) {
  if (traits.local_rope_base < 0) return rope;
  RopeSpec local = {.pairs = rope.pairs, .rotated = rope.rotated, .scaling = {}, .factors = {}};
  const double usual = traits.local_rope_base > 0 ? traits.local_rope_base : rope.base;
  ASSIGN_OR_RETURN(local.base, keys.positive_or("rope.freq_base_swa", usual));
  if (local.base > 1) return local;
  return invalid_argument("key '{}' is {}, but must be above 1", keys.name("rope.freq_base_swa"),
                          local.base);
}

}  // namespace millrace
