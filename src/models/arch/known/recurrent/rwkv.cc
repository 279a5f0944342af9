#include <algorithm>
#include <cmath>

#include "models/arch/arch.h"
#include "nn/recurrent/rwkv/channel_mix.h"
#include "nn/recurrent/rwkv/rwkv4.h"
#include "nn/recurrent/rwkv/rwkv6.h"
#include "nn/recurrent/rwkv/rwkv7.h"

namespace millrace {
namespace {

// Bounds far above every published model, so that products of two fit into int64.
constexpr int64_t kHiddenMax = 1 << 22;
constexpr int64_t kRwkvInnerMax = 1 << 20;
constexpr int64_t kRankMax = 1 << 16;

constexpr DecoderTraits kLayerNorms = {.norm = NormSpec::Kind::kLayer};
constexpr DecoderTraits kRmsNorms = {.norm = NormSpec::Kind::kRms};

// How layers halve the stream behind every n-th of them: the stream here stays as it is, and its
// norms have epsilons that grow as much instead. Files may hold the output matrices divided as the
// halved stream needs them.
class Halvings {
 public:
  static absl::StatusOr<Halvings> read(ArchReader& keys, bool divided) {
    Halvings halvings;
    ASSIGN_OR_RETURN(halvings.period_, keys.integer_or("rescale_every_n_layers", 0, INT32_MAX, 0));
    halvings.divided_ = divided;
    return halvings;
  }
  float epsilon(float epsilon, int64_t layer) const {
    return std::ldexp(epsilon, 2 * before(layer));
  }
  float scale(int64_t layer) const { return divided_ ? std::ldexp(1.0F, before(layer)) : 1.0F; }

 private:
  // Of the stream that enters the layer.
  int before(int64_t layer) const { return period_ == 0 ? 0 : static_cast<int>(layer / period_); }

  int64_t period_ = 0;
  bool divided_ = false;
};

// What the layers of a model share.
struct RwkvModel {
  ModelSpec spec;
  int64_t layers = 0;
  int64_t hidden = 0;
  int64_t heads = 0;
};

absl::StatusOr<RwkvModel> read_model(ArchReader& keys, const DecoderTraits& traits) {
  RwkvModel model;
  ASSIGN_OR_RETURN(model.spec, read_outside_of_layers(keys, traits));
  ASSIGN_OR_RETURN(model.layers, keys.layer_count());
  ASSIGN_OR_RETURN(model.hidden, keys.integer("feed_forward_length", 1, kHiddenMax));
  keys.pass_over("attention.head_count");  // there is no attention: converters write 0
  return model;
}

absl::Status read_wkv_heads(ArchReader& keys, RwkvModel& model) {
  ASSIGN_OR_RETURN(const int64_t dim, keys.integer("wkv.head_size", 1, kStateRowsMax));
  if (model.spec.width % dim != 0) {
    return invalid_argument("key '{}' is {}, which does not divide the width {}",
                            keys.name("wkv.head_size"), dim, model.spec.width);
  }
  model.heads = model.spec.width / dim;
  return absl::OkStatus();
}

absl::Status check_shifts(ArchReader& keys, int64_t shifts) {
  ASSIGN_OR_RETURN(const int64_t said, keys.integer_or("token_shift_count", 0, 16, shifts));
  if (said == shifts) return absl::OkStatus();
  return unimplemented("key '{}' is {}: only {} is supported", keys.name("token_shift_count"), said,
                       shifts);
}

absl::StatusOr<NormSpec> read_head_norm(ArchReader& keys) {
  ASSIGN_OR_RETURN(const double epsilon, keys.positive_or("attention.group_norm_epsilon", 64e-5));
  return NormSpec{.kind = NormSpec::Kind::kLayer,
                  .name = "time_mix_ln",
                  .epsilon = static_cast<float>(epsilon),
                  .has_bias = true};
}

NormSpec layer_norm(std::string_view name, float epsilon) {
  return {.kind = NormSpec::Kind::kLayer, .name = name, .epsilon = epsilon, .has_bias = true};
}

// Time mixing and channel mixing, one after the other.
void add_layer(const BodySpec& time_mix, const ChannelMixSpec& channel_mix,
               const Halvings& halvings, RwkvModel& model, float epsilon) {
  const int64_t layer = std::ssize(model.spec.layers);
  const float own = halvings.epsilon(epsilon, layer);
  const float scale = halvings.scale(layer);
  const BranchSpec first = {
      .pre_norm = layer_norm("attn_norm", own), .body = time_mix, .post_norm = {}, .scale = scale};
  const BranchSpec second = {.pre_norm = layer_norm("attn_norm_2", own),
                             .body = channel_mix,
                             .post_norm = {},
                             .scale = scale};
  model.spec.layers.push_back({{{first}, {second}}});
}

absl::StatusOr<ModelSpec> read_rwkv4(ArchReader& keys) {
  ASSIGN_OR_RETURN(RwkvModel model, read_model(keys, kLayerNorms));
  ASSIGN_OR_RETURN(const Halvings halvings, Halvings::read(keys, false));
  const int64_t width = model.spec.width;
  ASSIGN_OR_RETURN(const int64_t inner, keys.integer_or("wkv.inner_size", 1, kRwkvInnerMax, width));
  const float epsilon = model.spec.output_norm.epsilon;
  const ChannelMixSpec channel_mix = {.width = width, .hidden = model.hidden, .own_share = true};
  for (int64_t i = 0; i < model.layers; ++i) {
    add_layer(Rwkv4Spec{.width = width, .inner = inner}, channel_mix, halvings, model, epsilon);
  }
  constexpr float kOutputEpsilon = 1e-5F;  // whatever the others have
  model.spec.output_norm.epsilon = halvings.epsilon(kOutputEpsilon, model.layers);
  return std::move(model.spec);
}

absl::StatusOr<ModelSpec> read_rwkv5(ArchReader& keys) {
  ASSIGN_OR_RETURN(RwkvModel model, read_model(keys, kLayerNorms));
  RETURN_IF_ERROR(read_wkv_heads(keys, model));
  ASSIGN_OR_RETURN(const Halvings halvings, Halvings::read(keys, false));
  const float epsilon = model.spec.output_norm.epsilon;
  Rwkv6Spec time_mix = {.width = model.spec.width,
                        .heads = model.heads,
                        .key_heads = model.heads,
                        .own_share = true,
                        .joined_shares = false};
  ASSIGN_OR_RETURN(time_mix.norm, read_head_norm(keys));
  const ChannelMixSpec channel_mix = {
      .width = model.spec.width, .hidden = model.hidden, .own_share = true};
  for (int64_t i = 0; i < model.layers; ++i) {
    add_layer(time_mix, channel_mix, halvings, model, epsilon);
  }
  model.spec.output_norm.epsilon = halvings.epsilon(epsilon, model.layers);
  return std::move(model.spec);
}

absl::StatusOr<Rwkv6Spec> read_rwkv6_mix(ArchReader& keys, const RwkvModel& model) {
  Rwkv6Spec time_mix = {.width = model.spec.width, .heads = model.heads, .key_heads = model.heads};
  ASSIGN_OR_RETURN(time_mix.mix_rank, keys.integer("time_mix_extra_dim", 1, kRankMax));
  ASSIGN_OR_RETURN(time_mix.decay_rank, keys.integer("time_decay_extra_dim", 1, kRankMax));
  time_mix.joined_shares = keys.has_tensor("time_mix_lerp_fused.weight");
  return time_mix;
}

absl::StatusOr<ModelSpec> read_rwkv6(ArchReader& keys) {
  ASSIGN_OR_RETURN(RwkvModel model, read_model(keys, kLayerNorms));
  RETURN_IF_ERROR(read_wkv_heads(keys, model));
  RETURN_IF_ERROR(check_shifts(keys, 2));
  ASSIGN_OR_RETURN(const Halvings halvings, Halvings::read(keys, true));
  const float epsilon = model.spec.output_norm.epsilon;
  ASSIGN_OR_RETURN(Rwkv6Spec time_mix, read_rwkv6_mix(keys, model));
  ASSIGN_OR_RETURN(time_mix.norm, read_head_norm(keys));
  const ChannelMixSpec channel_mix = {.width = model.spec.width, .hidden = model.hidden};
  for (int64_t i = 0; i < model.layers; ++i) {
    add_layer(time_mix, channel_mix, halvings, model, epsilon);
  }
  model.spec.output_norm.epsilon = halvings.epsilon(epsilon, model.layers);
  return std::move(model.spec);
}

absl::StatusOr<Rwkv7Spec> read_rwkv7_mix(ArchReader& keys, const RwkvModel& model) {
  Rwkv7Spec time_mix = {.width = model.spec.width, .heads = model.heads};
  ASSIGN_OR_RETURN(time_mix.decay_rank, keys.integer("attention.decay_lora_rank", 1, kRankMax));
  ASSIGN_OR_RETURN(time_mix.rate_rank, keys.integer("attention.iclr_lora_rank", 1, kRankMax));
  ASSIGN_OR_RETURN(time_mix.value_rank,
                   keys.integer("attention.value_residual_mix_lora_rank", 1, kRankMax));
  ASSIGN_OR_RETURN(time_mix.gate_rank, keys.integer_or("attention.gate_lora_rank", 0, kRankMax, 0));
  return time_mix;
}

// The first layer has nothing to mix its values with, and its tensors for that are unused.
Rwkv7Spec of_layer(Rwkv7Spec time_mix, int64_t layer) {
  if (layer == 0) time_mix.value_rank = 0;
  return time_mix;
}

void leave_unused(ModelSpec& model) {
  for (const char* part : {"v0", "v1", "v2"}) {
    model.unused.push_back(fmt::format("blk.0.time_mix_{}.weight", part));
  }
}

absl::StatusOr<ModelSpec> read_rwkv7(ArchReader& keys) {
  ASSIGN_OR_RETURN(RwkvModel model, read_model(keys, kLayerNorms));
  RETURN_IF_ERROR(read_wkv_heads(keys, model));
  RETURN_IF_ERROR(check_shifts(keys, 2));
  const float epsilon = model.spec.output_norm.epsilon;
  ASSIGN_OR_RETURN(Rwkv7Spec time_mix, read_rwkv7_mix(keys, model));
  ASSIGN_OR_RETURN(time_mix.norm, read_head_norm(keys));
  const ChannelMixSpec channel_mix = {
      .width = model.spec.width, .hidden = model.hidden, .gated = false};
  for (int64_t i = 0; i < model.layers; ++i) {
    add_layer(of_layer(time_mix, i), channel_mix, {}, model, epsilon);
  }
  leave_unused(model.spec);
  return std::move(model.spec);
}

// A layer of Qwen 2 with time mixing in attention's place.
void add_qwen_layer(const BodySpec& time_mix, RwkvModel& model) {
  NormSpec norm = {
      .kind = NormSpec::Kind::kRms, .name = "attn_norm", .epsilon = model.spec.output_norm.epsilon};
  const BranchSpec first = {.pre_norm = norm, .body = time_mix, .post_norm = {}};
  norm.name = "ffn_norm";
  const FfnSpec network = {.width = model.spec.width, .hidden = model.hidden, .function = {}};
  const BranchSpec second = {.pre_norm = norm, .body = network, .post_norm = {}};
  model.spec.layers.push_back({{{first}, {second}}});
}

absl::StatusOr<ModelSpec> read_rwkv6_qwen2(ArchReader& keys) {
  ASSIGN_OR_RETURN(RwkvModel model, read_model(keys, kRmsNorms));
  RETURN_IF_ERROR(read_wkv_heads(keys, model));
  RETURN_IF_ERROR(check_shifts(keys, 1));
  ASSIGN_OR_RETURN(Rwkv6Spec time_mix, read_rwkv6_mix(keys, model));
  ASSIGN_OR_RETURN(time_mix.key_heads,
                   keys.integer_or("attention.head_count_kv", 1, model.heads, model.heads));
  if (model.heads % time_mix.key_heads != 0) {
    return invalid_argument("key '{}' is {}, which does not divide the {} heads",
                            keys.name("attention.head_count_kv"), time_mix.key_heads, model.heads);
  }
  time_mix.receptance_bias = keys.has_tensor("time_mix_receptance.bias");
  time_mix.key_bias = keys.has_tensor("time_mix_key.bias");
  time_mix.value_bias = keys.has_tensor("time_mix_value.bias");
  time_mix.bonus = false;
  time_mix.keys_by_loss = true;
  time_mix.scale = 1 / std::sqrt(static_cast<float>(time_mix.head_dim()));
  time_mix.gate = {.kind = ElementFunction::Kind::kSigmoid};
  for (int64_t i = 0; i < model.layers; ++i) add_qwen_layer(time_mix, model);
  return std::move(model.spec);
}

absl::StatusOr<ModelSpec> read_arwkv7(ArchReader& keys) {
  ASSIGN_OR_RETURN(RwkvModel model, read_model(keys, kRmsNorms));
  RETURN_IF_ERROR(read_wkv_heads(keys, model));
  RETURN_IF_ERROR(check_shifts(keys, 1));
  ASSIGN_OR_RETURN(Rwkv7Spec time_mix, read_rwkv7_mix(keys, model));
  if (keys.has_tensor("time_mix_ln.weight")) {
    ASSIGN_OR_RETURN(time_mix.norm, read_head_norm(keys));
  }
  for (int64_t i = 0; i < model.layers; ++i) add_qwen_layer(of_layer(time_mix, i), model);
  leave_unused(model.spec);
  return std::move(model.spec);
}

}  // namespace

// RWKV 4 (Peng et al. 2023), 5 and 6 (Peng et al. 2024) and 7 (Peng et al. 2025): time mixing and
// channel mixing; and models of Qwen 2 whose attention became time mixing (Lin et al. 2025; Yueyu
// et al. 2025).
std::span<const Arch> known_rwkv_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "arwkv7", .models = "ARWKV 7B", .read = read_arwkv7},
      {.name = "rwkv4", .models = "RWKV 4 169M to 14B", .read = read_rwkv4},
      {.name = "rwkv5", .models = "RWKV 5 (Eagle)", .read = read_rwkv5},
      {.name = "rwkv6", .models = "RWKV 6 (Finch)", .read = read_rwkv6},
      {.name = "rwkv6qwen2", .models = "QRWKV6 32B", .read = read_rwkv6_qwen2},
      {.name = "rwkv7", .models = "RWKV 7 (Goose)", .read = read_rwkv7},
  };
  return kArchs;
}

}  // namespace millrace
