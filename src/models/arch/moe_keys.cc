#include "models/arch/moe_keys.h"

namespace millrace {
namespace {

constexpr int64_t kExpertsMax = 1 << 14;
constexpr int64_t kExpertHiddenMax = 1 << 22;

// Rows of one of `matrices` in a tensor, or 0.
int64_t rows_of(const ArchReader& keys, std::string_view tensor, int64_t layer, int64_t matrices) {
  const NamedTensor* found = keys.find_tensor(tensor, layer);
  return found == nullptr ? 0 : found->layout.rows() / matrices;
}

// As converters number them.
absl::Status read_score(ArchReader& keys, ops::Routing& routing) {
  constexpr int64_t kNone = 0, kSoftmax = 1, kSigmoid = 2, kSoftmaxOfChosen = 3;
  ASSIGN_OR_RETURN(const int64_t function, keys.integer_or("expert_gating_func", 0, 255, kNone));
  if (function == kSoftmax || function == kSoftmaxOfChosen) {
    if (routing.score == ops::Routing::Score::kSparsemixer) return absl::OkStatus();
    routing.score = ops::Routing::Score::kSoftmax;
    routing.after_choice = function == kSoftmaxOfChosen;
  } else if (function == kSigmoid && routing.score != ops::Routing::Score::kSigmoid) {
    routing.score = ops::Routing::Score::kSigmoid;
    routing.after_choice = false;
  } else if (function != kNone && function != kSigmoid) {
    return unimplemented("key '{}' is {}: not supported: this scoring of experts",
                         keys.name("expert_gating_func"), function);
  }
  return absl::OkStatus();
}

absl::Status read_groups(ArchReader& keys, int64_t experts, ops::Routing& routing) {
  ASSIGN_OR_RETURN(const int64_t groups,
                   keys.integer_or("expert_group_count", 0, ops::kExpertGroupsMax, 1));
  ASSIGN_OR_RETURN(const int64_t chosen,
                   keys.integer_or("expert_group_used_count", 0, ops::kExpertGroupsMax, groups));
  if (groups <= 1) return absl::OkStatus();
  const int64_t size = experts / groups;
  if (experts % groups != 0 || size < 2 || chosen < 1 || chosen > groups ||
      chosen * size < routing.chosen) {
    return invalid_argument(
        "key '{}' is {} and '{}' {}, of which {} of {} experts cannot be chosen",
        keys.name("expert_group_count"), groups, keys.name("expert_group_used_count"), chosen,
        routing.chosen, experts);
  }
  routing.groups = static_cast<int32_t>(groups);
  routing.groups_chosen = static_cast<int32_t>(chosen);
  return absl::OkStatus();
}

absl::Status read_routing(ArchReader& keys, int64_t experts, ops::Routing& routing) {
  ASSIGN_OR_RETURN(const int64_t chosen, keys.integer("expert_used_count", 1, experts));
  routing.chosen = static_cast<int32_t>(chosen);
  RETURN_IF_ERROR(read_score(keys, routing));
  RETURN_IF_ERROR(read_groups(keys, experts, routing));
  ASSIGN_OR_RETURN(routing.renormalise,
                   keys.boolean_or("expert_weights_norm", routing.renormalise));
  ASSIGN_OR_RETURN(const double scale, keys.number_or("expert_weights_scale", 0));
  if (!(scale >= 0)) {
    return invalid_argument("key '{}' is {}, but must not be negative",
                            keys.name("expert_weights_scale"), scale);
  }
  if (scale != 0) routing.scale = static_cast<float>(scale);
  return absl::OkStatus();
}

absl::Status check_sparsemixer(const ArchReader& keys, const MoeSpec& spec) {
  const ops::Routing& routing = spec.routing;
  if (routing.score != ops::Routing::Score::kSparsemixer) return absl::OkStatus();
  if (routing.chosen != 2) {
    return unimplemented("key '{}' is {}: this router chooses 2", keys.name("expert_used_count"),
                         routing.chosen);
  }
  if (routing.groups > 1) {
    return unimplemented("key '{}' is {}: this router has no groups",
                         keys.name("expert_group_count"), routing.groups);
  }
  if (!spec.selection_bias) return absl::OkStatus();
  return unimplemented("tensor 'exp_probs_b.bias': this router has no bias that chooses");
}

// Converters reckon the width of a shared expert from sizes that have nothing to do with it: the
// tensors say it, and the keys only that there is one.
absl::StatusOr<int64_t> read_shared_hidden(ArchReader& keys, int64_t layer) {
  ASSIGN_OR_RETURN(const int64_t count, keys.integer_or("expert_shared_count", 0, kExpertsMax, 0));
  ASSIGN_OR_RETURN(const int64_t hidden, keys.integer_or("expert_shared_feed_forward_length", 0,
                                                         kExpertHiddenMax, count));
  const int64_t rows = rows_of(keys, "ffn_up_shexp.weight", layer, 1);
  return rows > 0 ? rows : hidden;  // which will be missed by its name
}

}  // namespace

std::vector<bool> layers_with_experts(const ArchReader& keys, const DecoderTraits& traits,
                                      int64_t layers) {
  std::vector<bool> found;
  for (int64_t layer = 0; layer < layers; ++layer) {
    found.push_back(traits.moe && keys.find_tensor("ffn_gate_inp.weight", layer) != nullptr);
  }
  return found;
}

absl::StatusOr<MoeSpec> read_moe(ArchReader& keys, const DecoderTraits& traits, int64_t layer,
                                 ModelSpec& model) {
  MoeSpec spec = {.width = model.width,
                  .routing = {.score = traits.moe->score,
                              .after_choice = traits.moe->after_choice,
                              .renormalise = traits.moe->renormalise,
                              .threshold = traits.moe->threshold},
                  .gated = traits.moe->gated,
                  .weighs_inputs = traits.moe->weighs_inputs,
                  .function = {.kind = traits.function}};
  ASSIGN_OR_RETURN(spec.experts, keys.integer("expert_count", 1, kExpertsMax));
  RETURN_IF_ERROR(read_routing(keys, spec.experts, spec.routing));
  const int64_t fused = rows_of(keys, "ffn_gate_up_exps.weight", layer, 2 * spec.experts);
  const int64_t hidden =
      fused > 0 ? fused : rows_of(keys, "ffn_up_exps.weight", layer, spec.experts);
  ASSIGN_OR_RETURN(spec.hidden, keys.integer_or("expert_feed_forward_length", 1, kExpertHiddenMax,
                                                std::max<int64_t>(hidden, 1)));
  if (fused > 0) {
    constexpr const char* kFused = "ffn_gate_up_exps.weight";
    model.slices.push_back({"ffn_gate_exps.weight", kFused, 0, 2 * spec.hidden});
    model.slices.push_back({"ffn_up_exps.weight", kFused, spec.hidden, 2 * spec.hidden});
  }
  const auto has = [&](std::string_view tensor) {
    return keys.find_tensor(tensor, layer) != nullptr;
  };
  spec.selection_bias = has("exp_probs_b.bias");
  spec.router_bias = has("ffn_gate_inp.bias");
  spec.biases = has("ffn_up_exps.bias");
  ASSIGN_OR_RETURN(spec.shared_hidden, read_shared_hidden(keys, layer));
  spec.shared_gate = has("ffn_gate_inp_shexp.weight");
  RETURN_IF_ERROR(check_sparsemixer(keys, spec));
  // Which layers have experts, the tensors say.
  for (const char* key :
       {"leading_dense_block_count", "interleave_moe_layer_step", "moe_every_n_layers"}) {
    keys.pass_over(key);
  }
  return spec;
}

}  // namespace millrace
