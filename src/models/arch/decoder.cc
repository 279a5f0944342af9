#include "models/arch/decoder.h"

#include <algorithm>

#include "base/log.h"
#include "models/arch/attention_keys.h"
#include "models/arch/moe_keys.h"
#include "models/arch/rope_keys.h"

namespace millrace {
namespace {

// Bounds far above every published model, so that products of two dimensions fit into int64 and a
// lie in a file is named instead of tried.
constexpr int64_t kLayersMax = 4096;
constexpr int64_t kWidthMax = 1 << 20;
constexpr int64_t kHiddenMax = 1 << 22;
constexpr int64_t kContextMax = 1 << 30;
constexpr int64_t kVocabMax = 1 << 24;

// The embedding says how many tokens there are; the tokenizer must agree, or it would make ids that
// the model does not know.
absl::StatusOr<int32_t> read_vocab_size(ArchReader& keys) {
  const Checkpoint& checkpoint = keys.checkpoint();
  const std::string name = "token_embd.weight";
  const NamedTensor* embedding = checkpoint.find(name);
  if (embedding == nullptr) return not_found("tensor '{}' is missing", name);
  const int64_t size = embedding->layout.rows();
  if (size < 1 || size > kVocabMax) {
    return invalid_argument("tensor '{}' has {} rows, but must have 1 to {}", name, size,
                            kVocabMax);
  }
  constexpr std::string_view kTokens = "tokenizer.ggml.tokens";
  if (checkpoint.metadata().has(kTokens)) {
    ASSIGN_OR_RETURN(const auto tokens, checkpoint.metadata().strings(kTokens));
    if (std::ssize(tokens) != size) {
      return invalid_argument("tensor '{}' has {} rows, but key '{}' has {} tokens", name, size,
                              kTokens, tokens.size());
    }
  }
  ASSIGN_OR_RETURN(const int64_t said, keys.integer_or("vocab_size", 0, kVocabMax, size));
  if (said != size) {
    return invalid_argument("tensor '{}' has {} rows, but key '{}' is {}", name, size,
                            keys.name("vocab_size"), said);
  }
  return static_cast<int32_t>(size);
}

// Which rows of queries and keys are rotated together is a matter of the architecture.
absl::Status check_layout(ArchReader& keys, const DecoderTraits& traits) {
  constexpr std::string_view kKey = "tensor_data_layout";
  const std::string_view usual =
      traits.pairs == ops::Rope::Pairs::kNeighbours ? "Meta AI original pth" : "reference";
  ASSIGN_OR_RETURN(const std::string_view layout, keys.string_or(kKey, usual));
  if (layout == usual || layout == traits.layout) return absl::OkStatus();
  return unimplemented("key '{}' is '{}': only '{}' is supported", keys.name(kKey),
                       escape_for_log(layout.substr(0, 40)), usual);
}

// Phi-3.5-MoE's LayerNorms have theirs under the name of the other kind's.
absl::StatusOr<float> read_epsilon(ArchReader& keys, const DecoderTraits& traits) {
  constexpr std::string_view kRms = "attention.layer_norm_rms_epsilon";
  constexpr std::string_view kLayer = "attention.layer_norm_epsilon";
  const bool is_rms = traits.norm == NormSpec::Kind::kRms || (!keys.has(kLayer) && keys.has(kRms));
  ASSIGN_OR_RETURN(const double epsilon, keys.positive(is_rms ? kRms : kLayer));
  return static_cast<float>(epsilon);
}

absl::Status read_scales(ArchReader& keys, const DecoderTraits& traits, ModelSpec& model) {
  ASSIGN_OR_RETURN(const double embedding, keys.number_or("embedding_scale", 0));
  if (embedding != 0) model.embedding_scale = static_cast<float>(embedding);
  ASSIGN_OR_RETURN(const double logits, keys.number_or("logit_scale", 0));
  if (logits != 0) {
    model.logit_scale = static_cast<float>(traits.logit_scale_divides ? 1 / logits : logits);
  }
  ASSIGN_OR_RETURN(const double softcap, keys.number_or("final_logit_softcapping", 0));
  if (softcap < 0) {
    return invalid_argument("key '{}' is {}, but must not be negative",
                            keys.name("final_logit_softcapping"), softcap);
  }
  model.logit_softcap = static_cast<float>(softcap);
  return absl::OkStatus();
}

absl::Status read_ends(ArchReader& keys, const DecoderTraits& traits, ModelSpec& model) {
  ASSIGN_OR_RETURN(model.vocab_size, read_vocab_size(keys));
  ASSIGN_OR_RETURN(const float epsilon, read_epsilon(keys, traits));
  model.embedding_norm = norm_at(keys, traits.norm, "token_embd_norm", epsilon);
  model.output_norm = {.kind = traits.norm,
                       .name = "output_norm",
                       .epsilon = epsilon,
                       .has_bias = keys.has_tensor("output_norm.bias")};
  model.tied_embeddings = !keys.has_tensor("output.weight");
  model.head_bias = keys.has_tensor("output.bias");
  if (const NamedTensor* positions = keys.find_tensor("position_embd.weight")) {
    model.learned_positions = positions->layout.rows();
    if (model.context_max > model.learned_positions) {
      return invalid_argument("key '{}' is {}, but tensor '{}' has {} positions",
                              keys.name("context_length"), model.context_max, positions->name,
                              model.learned_positions);
    }
  }
  return read_scales(keys, traits, model);
}

// Of the layers without experts, of which `layer` is the first. Gates and ups in one matrix, in
// this order, are told by its rows.
absl::StatusOr<FfnSpec> read_ffn(ArchReader& keys, const DecoderTraits& traits, int64_t layer,
                                 ModelSpec& model) {
  FfnSpec spec = {.width = model.width, .function = {.kind = traits.function}};
  ASSIGN_OR_RETURN(spec.hidden, keys.integer("feed_forward_length", 1, kHiddenMax));
  const auto has = [&](std::string_view tensor) {
    return keys.find_tensor(tensor, layer) != nullptr;
  };
  const NamedTensor* up = keys.find_tensor("ffn_up.weight", layer);
  const bool fused = up != nullptr && up->layout.rows() == 2 * spec.hidden;
  spec.gated = fused || has("ffn_gate.weight");
  spec.gate_bias = has("ffn_gate.bias");
  spec.up_bias = has("ffn_up.bias");
  spec.down_bias = has("ffn_down.bias");
  spec.hidden_norm = norm_at(keys, traits.norm, "ffn_sub_norm", model.output_norm.epsilon);
  if (fused) {
    const int64_t rows = 2 * spec.hidden;
    model.slices.push_back({"ffn_gate.weight", "ffn_up.weight", 0, rows});
    model.slices.push_back({"ffn_up.weight", "ffn_up.weight", spec.hidden, rows});
  }
  return spec;
}

// The norms around a layer's two bodies, by the tensors that there are.
struct LayerNorms {
  NormSpec attention, after_attention, ffn, after_ffn;
};

LayerNorms read_layer_norms(const ArchReader& keys, const DecoderTraits& traits,
                            const ModelSpec& model) {
  const float epsilon = model.output_norm.epsilon;
  const auto norm = [&](std::string_view name) {
    return norm_at(keys, traits.norm, name, epsilon);
  };
  LayerNorms norms = {.attention = norm(traits.attention_norm),
                      .after_attention = {},
                      .ffn = norm(traits.ffn_norm),
                      .after_ffn = norm("post_ffw_norm")};
  if (traits.ffn_norm != "post_attention_norm") norms.after_attention = norm("post_attention_norm");
  // What must be there is asked for, so that the error names it.
  if (!norms.attention && !norms.after_attention) {
    norms.attention = {.kind = traits.norm, .name = traits.attention_norm, .epsilon = epsilon};
  }
  if (traits.parallel && !norms.ffn) norms.ffn = norms.attention;
  if (!norms.ffn && !norms.after_ffn) {
    norms.ffn = {.kind = traits.norm, .name = traits.ffn_norm, .epsilon = epsilon};
  }
  return norms;
}

LayerSpec assemble(const LayerNorms& norms, const DecoderTraits& traits,
                   const AttentionSpec& attention, const BodySpec& ffn, float scale) {
  const BranchSpec first = {.pre_norm = norms.attention,
                            .body = attention,
                            .post_norm = norms.after_attention,
                            .scale = scale};
  const BranchSpec second = {
      .pre_norm = norms.ffn, .body = ffn, .post_norm = norms.after_ffn, .scale = scale};
  if (traits.parallel) return {{{first, second}}};
  return {{{first}, {second}}};
}

// Each layer's feed-forward network or mixture of them.
absl::StatusOr<std::vector<BodySpec>> read_networks(ArchReader& keys, const DecoderTraits& traits,
                                                    int64_t layers, ModelSpec& model) {
  const std::vector<bool> has_experts = layers_with_experts(keys, traits, layers);
  BodySpec bodies[2];
  for (const bool experts : {false, true}) {
    const auto first = std::ranges::find(has_experts, experts);
    if (first == has_experts.end()) continue;
    const int64_t layer = first - has_experts.begin();
    if (experts) {
      ASSIGN_OR_RETURN(bodies[1], read_moe(keys, traits, layer, model));
    } else {
      ASSIGN_OR_RETURN(bodies[0], read_ffn(keys, traits, layer, model));
    }
  }
  keys.pass_over("feed_forward_length");  // where all layers have experts it says nothing
  std::vector<BodySpec> networks;
  for (const bool experts : has_experts) networks.push_back(bodies[experts ? 1 : 0]);
  return networks;
}

absl::Status read_layers(ArchReader& keys, const DecoderTraits& traits, int64_t layers,
                         ModelSpec& model) {
  ASSIGN_OR_RETURN(const AttentionSpec attention, read_attention(keys, traits, model));
  ASSIGN_OR_RETURN(const std::vector<bool> windowed,
                   read_windowed_layers(keys, traits, layers, attention.window));
  ASSIGN_OR_RETURN(const std::vector<bool> rotated,
                   read_rotated_layers(keys, traits, windowed, attention.window));
  RopeSpec rope, local_rope;
  if (traits.rope) {
    ASSIGN_OR_RETURN(rope, read_rope(keys, traits, attention.head_dim, model.context_max));
    ASSIGN_OR_RETURN(local_rope, read_local_rope(keys, traits, rope));
  }
  ASSIGN_OR_RETURN(const double scale, keys.number_or("residual_scale", 0));
  ASSIGN_OR_RETURN(const std::vector<BodySpec> networks,
                   read_networks(keys, traits, layers, model));
  const LayerNorms norms = read_layer_norms(keys, traits, model);
  for (size_t layer = 0; layer < windowed.size(); ++layer) {
    AttentionSpec own = attention;
    if (!windowed[layer] || own.window >= model.context_max) own.window = 0;
    if (rotated[layer]) own.rope = windowed[layer] ? local_rope : rope;
    model.layers.push_back(
        assemble(norms, traits, own, networks[layer], scale == 0 ? 1 : static_cast<float>(scale)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelSpec> read_decoder(ArchReader& keys, const DecoderTraits& traits) {
  ModelSpec model;
  ASSIGN_OR_RETURN(model.name, keys.checkpoint().metadata().string_or("general.name", ""));
  model.architecture = keys.architecture();
  RETURN_IF_ERROR(check_layout(keys, traits));
  ASSIGN_OR_RETURN(const int64_t layers, keys.integer("block_count", 1, kLayersMax));
  ASSIGN_OR_RETURN(model.width, keys.integer("embedding_length", 1, kWidthMax));
  ASSIGN_OR_RETURN(const int64_t context, keys.integer("context_length", 1, kContextMax));
  model.context_max = static_cast<int32_t>(context);
  RETURN_IF_ERROR(read_ends(keys, traits, model));
  RETURN_IF_ERROR(read_layers(keys, traits, layers, model));
  if (keys.has_tensor("rope_factors_long.weight")) {
    for (const char* name : {"rope_factors_long.weight", "rope_factors_short.weight"}) {
      model.unused.emplace_back(name);  // of the two, what the rope did not choose
    }
  }
  return model;
}

}  // namespace millrace
