#include "models/arch/known/recurrent/recurrent_keys.h"

#include <vector>

#include "models/arch/attention_keys.h"

namespace millrace {
namespace {

// Bounds far above every published model, so that products of two fit into int64.
constexpr int64_t kRecurrentInnerMax = 1 << 20;
constexpr int64_t kRecurrentHeadsMax = 1 << 16;

absl::StatusOr<int64_t> read_kernel(ArchReader& keys) {
  return keys.integer("ssm.conv_kernel", 1, kConvKernelMax);
}

absl::StatusOr<int64_t> read_state(ArchReader& keys) {
  return keys.integer("ssm.state_size", 1, kStateRowsMax);
}

// Of `what` channels, heads or groups, into equal parts.
absl::Status check_divides(const ArchReader& keys, std::string_view key, int64_t parts, int64_t all,
                           std::string_view what) {
  if (all % parts == 0) return absl::OkStatus();
  return invalid_argument("key '{}' is {}, which does not divide the {} {}", keys.name(key), parts,
                          all, what);
}

NormSpec rms(std::string_view name, float epsilon, bool has_weight = true) {
  return {.kind = NormSpec::Kind::kRms, .name = name, .epsilon = epsilon, .has_weight = has_weight};
}

absl::Status read_step_limits(ArchReader& keys, Mamba2Spec& spec) {
  ASSIGN_OR_RETURN(const double smallest, keys.number_or("ssm.time_step_min", 0));
  ASSIGN_OR_RETURN(const double largest, keys.number_or("ssm.time_step_max", spec.step_largest));
  if (!(smallest >= 0 && smallest <= largest)) {
    return invalid_argument("key '{}' is {}, but must be 0 to {} ('{}')",
                            keys.name("ssm.time_step_min"), smallest, largest,
                            keys.name("ssm.time_step_max"));
  }
  spec.step_smallest = static_cast<float>(smallest);
  spec.step_largest = static_cast<float>(largest);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<MambaSpec> read_mamba(ArchReader& keys, const ModelSpec& model) {
  MambaSpec spec = {.width = model.width};
  ASSIGN_OR_RETURN(spec.inner, keys.integer("ssm.inner_size", 1, kRecurrentInnerMax));
  ASSIGN_OR_RETURN(spec.state_dim, read_state(keys));
  ASSIGN_OR_RETURN(spec.step_rank, keys.integer("ssm.time_step_rank", 1, kRecurrentInnerMax));
  ASSIGN_OR_RETURN(spec.conv_kernel, read_kernel(keys));
  const int64_t layer = keys.first_layer_with("ssm_in.weight");
  const float epsilon = model.output_norm.epsilon;
  spec.conv_bias = keys.find_tensor("ssm_conv1d.bias", layer) != nullptr;
  spec.biases = keys.find_tensor("ssm_in.bias", layer) != nullptr;
  ASSIGN_OR_RETURN(const bool norms, keys.boolean_or("ssm.dt_b_c_rms", false));
  ASSIGN_OR_RETURN(const double own_epsilon,
                   keys.positive_or("ssm.dt_b_c_rms_epsilon", double{epsilon}));
  if (norms) {
    spec.step_norm = spec.b_norm = spec.c_norm = rms("", static_cast<float>(own_epsilon), false);
  } else if (keys.find_tensor("ssm_dt_norm.weight", layer) != nullptr) {
    spec.step_norm = rms("ssm_dt_norm", epsilon);
    spec.b_norm = rms("ssm_b_norm", epsilon);
    spec.c_norm = rms("ssm_c_norm", epsilon);
  }
  return spec;
}

absl::StatusOr<Mamba2Spec> read_mamba2(ArchReader& keys, const ModelSpec& model) {
  Mamba2Spec spec = {.width = model.width};
  ASSIGN_OR_RETURN(spec.inner, keys.integer("ssm.inner_size", 1, kRecurrentInnerMax));
  ASSIGN_OR_RETURN(spec.state_dim, read_state(keys));
  ASSIGN_OR_RETURN(spec.conv_kernel, read_kernel(keys));
  ASSIGN_OR_RETURN(spec.heads, keys.integer("ssm.time_step_rank", 1, kRecurrentHeadsMax));
  ASSIGN_OR_RETURN(spec.groups, keys.integer_or("ssm.group_count", 1, kRecurrentHeadsMax, 1));
  RETURN_IF_ERROR(
      check_divides(keys, "ssm.time_step_rank", spec.heads, spec.inner, "inner channels"));
  RETURN_IF_ERROR(check_divides(keys, "ssm.group_count", spec.groups, spec.heads, "heads"));
  const int64_t layer = keys.first_layer_with("ssm_in.weight");
  const auto has = [&](std::string_view tensor) {
    return keys.find_tensor(tensor, layer) != nullptr;
  };
  spec.conv_bias = has("ssm_conv1d.bias");
  spec.input_bias = has("ssm_in.bias");
  spec.output_bias = has("ssm_out.bias");
  if (has("ssm_norm.weight")) spec.norm = rms("ssm_norm", model.output_norm.epsilon);
  ASSIGN_OR_RETURN(spec.norm_before_gate, keys.boolean_or("ssm.norm_before_gate", false));
  RETURN_IF_ERROR(read_step_limits(keys, spec));
  return spec;
}

absl::StatusOr<DeltaNetSpec> read_delta_net(ArchReader& keys, const ModelSpec& model) {
  DeltaNetSpec spec = {.width = model.width};
  ASSIGN_OR_RETURN(const int64_t inner, keys.integer("ssm.inner_size", 1, kRecurrentInnerMax));
  ASSIGN_OR_RETURN(spec.key_dim, read_state(keys));
  ASSIGN_OR_RETURN(spec.conv_kernel, read_kernel(keys));
  ASSIGN_OR_RETURN(spec.heads, keys.integer("ssm.time_step_rank", 1, kRecurrentHeadsMax));
  ASSIGN_OR_RETURN(spec.key_heads, keys.integer("ssm.group_count", 1, kRecurrentHeadsMax));
  RETURN_IF_ERROR(
      check_divides(keys, "ssm.time_step_rank", spec.heads, inner, "channels of values"));
  RETURN_IF_ERROR(
      check_divides(keys, "ssm.group_count", spec.key_heads, spec.heads, "heads of values"));
  spec.value_dim = inner / spec.heads;
  spec.norm = rms("ssm_norm", model.output_norm.epsilon);
  return spec;
}

absl::StatusOr<DeltaNetSpec> read_kimi_delta_net(ArchReader& keys, const ModelSpec& model,
                                                 int64_t layer) {
  DeltaNetSpec spec = {.tensors = DeltaNetSpec::Tensors::kLowRank, .width = model.width};
  ASSIGN_OR_RETURN(spec.heads,
                   keys.integer_of("attention.head_count", layer, 1, kRecurrentHeadsMax));
  ASSIGN_OR_RETURN(spec.key_dim, keys.integer("kda.head_dim", 1, kStateRowsMax));
  ASSIGN_OR_RETURN(spec.conv_kernel, read_kernel(keys));
  spec.key_heads = spec.heads;
  spec.value_dim = spec.rank = spec.key_dim;
  spec.norm = rms("ssm_norm", model.output_norm.epsilon);
  spec.gate = {.kind = ops::ElementFunction::Kind::kSigmoid};
  return spec;
}

absl::StatusOr<bool> has_key_heads(ArchReader& keys, int64_t layer) {
  ASSIGN_OR_RETURN(const int64_t heads,
                   keys.integer_of("attention.head_count_kv", layer, 0, kRecurrentHeadsMax));
  return heads > 0;
}

absl::StatusOr<bool> is_recurrent(ArchReader& keys, int64_t layer, int64_t usual_interval) {
  constexpr std::string_view kLayers = "attention.recurrent_layers";
  ASSIGN_OR_RETURN(const int64_t interval,
                   keys.integer_or("full_attention_interval", 1, INT32_MAX, usual_interval));
  if (!keys.has(kLayers)) return (layer + 1) % interval != 0;
  ASSIGN_OR_RETURN(const int64_t layers, keys.layer_count());
  ASSIGN_OR_RETURN(const std::vector<bool> recurrent, keys.booleans(kLayers, layers));
  return recurrent[static_cast<size_t>(layer)];
}

}  // namespace millrace
