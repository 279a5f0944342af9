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
  constexpr std::string_view kEmbeddingNorm = "token_embd_norm";
  if (traits.output_norm != kEmbeddingNorm) {
    model.embedding_norm = norm_at(keys, traits.norm, kEmbeddingNorm, epsilon);
  }
  model.output_norm = {.kind = traits.norm,
                       .name = traits.output_norm,
                       .epsilon = epsilon,
                       .has_bias = keys.has_tensor(fmt::format("{}.bias", traits.output_norm))};
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
  ASSIGN_OR_RETURN(spec.hidden, keys.integer_of("feed_forward_length", layer, 1, kHiddenMax));
  const auto has = [&](std::string_view tensor) {
    return keys.find_tensor(tensor, layer) != nullptr;
  };
  const NamedTensor* up = keys.find_tensor("ffn_up.weight", layer);
  const bool fused = up != nullptr && up->layout.rows() == 2 * spec.hidden;
  spec.gated = fused || has("ffn_gate.weight");
  spec.gate_bias = has("ffn_gate.bias");
  spec.up_bias = has("ffn_up.bias");
  spec.down_bias = has("ffn_down.bias");
  spec.hidden_norm = norm_at(keys, traits.norm, "ffn_sub_norm", model.output_norm.epsilon, layer);
  if (fused) {
    const int64_t rows = 2 * spec.hidden;
    model.slices.push_back({"ffn_gate.weight", "ffn_up.weight", 0, rows});
    model.slices.push_back({"ffn_up.weight", "ffn_up.weight", spec.hidden, rows});
  }
  return spec;
}

// The norms around a layer's bodies, by the tensors of the first layer that has such bodies.
struct LayerNorms {
  NormSpec attention, after_attention, ffn, after_ffn;
};

LayerNorms read_layer_norms(const ArchReader& keys, const DecoderTraits& traits,
                            const ModelSpec& model, int64_t mixing, int64_t networked) {
  const float epsilon = model.output_norm.epsilon;
  const auto norm = [&](std::string_view name, int64_t layer) {
    return norm_at(keys, traits.norm, name, epsilon, layer);
  };
  LayerNorms norms = {.attention = norm(traits.attention_norm, mixing),
                      .after_attention = {},
                      .ffn = norm(traits.ffn_norm, networked),
                      .after_ffn = norm("post_ffw_norm", networked)};
  if (traits.ffn_norm != "post_attention_norm") {
    norms.after_attention = norm("post_attention_norm", mixing);
  }
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

// Falcon-H1's converter leaves the end of this name out.
void rename_short_norm(const ArchReader& keys, int64_t networked, ModelSpec& model) {
  const auto has = [&](std::string_view tensor) {
    return keys.find_tensor(tensor, networked) != nullptr;
  };
  if (!has("ffn_norm") || has("ffn_norm.weight")) return;
  model.slices.push_back({"ffn_norm.weight", "ffn_norm", 0, model.width});
}

// mixers: attention and what stands beside it or in its place; network: one, or none.
LayerSpec assemble(const LayerNorms& norms, const DecoderTraits& traits,
                   const std::vector<BodySpec>& mixers, const std::vector<BodySpec>& network,
                   float scale) {
  StageSpec first, second;
  for (const BodySpec& mixer : mixers) {
    first.push_back({.pre_norm = norms.attention,
                     .body = mixer,
                     .post_norm = norms.after_attention,
                     .scale = scale});
  }
  for (const BodySpec& body : network) {
    (traits.parallel ? first : second)
        .push_back(
            {.pre_norm = norms.ffn, .body = body, .post_norm = norms.after_ffn, .scale = scale});
  }
  LayerSpec layer;
  if (!first.empty()) layer.stages.push_back(std::move(first));
  if (!second.empty()) layer.stages.push_back(std::move(second));
  return layer;
}

absl::StatusOr<std::vector<LayerParts>> read_parts(ArchReader& keys, const DecoderTraits& traits,
                                                   int64_t layers, const ModelSpec& model) {
  std::vector<LayerParts> parts(static_cast<size_t>(layers));
  for (int64_t layer = 0; layer < layers && traits.parts != nullptr; ++layer) {
    ASSIGN_OR_RETURN(parts[static_cast<size_t>(layer)], traits.parts(keys, model, layer));
  }
  return parts;
}

// The number of the first layer for which `has` is true, or -1.
template <typename Has>
int64_t first_layer(const std::vector<LayerParts>& parts, Has has) {
  const auto found = std::ranges::find_if(parts, has);
  return found == parts.end() ? -1 : found - parts.begin();
}

// Adds attention, where a layer has it, before its other mixers.
absl::Status read_attentions(ArchReader& keys, const DecoderTraits& traits, ModelSpec& model,
                             std::vector<LayerParts>& parts) {
  const int64_t first = first_layer(parts, [](const LayerParts& p) { return p.attention; });
  if (first < 0) {
    for (const char* key : {"attention.head_count", "attention.head_count_kv"}) {
      keys.pass_over(key);
    }
    return absl::OkStatus();
  }
  const int64_t layers = std::ssize(parts);
  ASSIGN_OR_RETURN(const AttentionSpec attention, read_attention(keys, traits, first, model));
  ASSIGN_OR_RETURN(const std::vector<bool> windowed,
                   read_windowed_layers(keys, traits, layers, attention.window));
  ASSIGN_OR_RETURN(const std::vector<bool> rotated,
                   read_rotated_layers(keys, traits, windowed, attention.window));
  RopeSpec rope, local_rope;
  if (traits.rope) {
    ASSIGN_OR_RETURN(rope, read_rope(keys, traits, attention.head_dim, model.context_max));
    ASSIGN_OR_RETURN(local_rope, read_local_rope(keys, traits, rope));
  }
  for (size_t layer = 0; layer < parts.size(); ++layer) {
    if (!parts[layer].attention) continue;
    ASSIGN_OR_RETURN(AttentionSpec own,
                     with_heads_of(keys, static_cast<int64_t>(layer), attention));
    if (!windowed[layer] || own.window >= model.context_max) own.window = 0;
    if (rotated[layer]) own.rope = windowed[layer] ? local_rope : rope;
    parts[layer].mixers.insert(parts[layer].mixers.begin(), own);
  }
  return absl::OkStatus();
}

// Each layer's feed-forward network or mixture of them, or nothing.
absl::StatusOr<std::vector<std::vector<BodySpec>>> read_networks(
    ArchReader& keys, const DecoderTraits& traits, const std::vector<LayerParts>& parts,
    ModelSpec& model) {
  std::vector<std::vector<BodySpec>> networks(parts.size());
  const std::vector<bool> has_experts = layers_with_experts(keys, traits, std::ssize(parts));
  std::optional<FfnSpec> ffn;
  std::optional<MoeSpec> moe;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!parts[i].network) continue;
    const auto layer = static_cast<int64_t>(i);
    if (has_experts[i]) {
      if (!moe) {
        ASSIGN_OR_RETURN(moe, read_moe(keys, traits, layer, model));
      }
      networks[i].emplace_back(*moe);
      continue;
    }
    if (!ffn) {
      ASSIGN_OR_RETURN(ffn, read_ffn(keys, traits, layer, model));
    }
    ASSIGN_OR_RETURN(ffn->hidden, keys.integer_of("feed_forward_length", layer, 1, kHiddenMax));
    networks[i].emplace_back(*ffn);
  }
  keys.pass_over("feed_forward_length");  // where all layers have experts it says nothing
  return networks;
}

absl::Status read_layers(ArchReader& keys, const DecoderTraits& traits, ModelSpec& model) {
  ASSIGN_OR_RETURN(const int64_t layers, keys.layer_count());
  ASSIGN_OR_RETURN(std::vector<LayerParts> parts, read_parts(keys, traits, layers, model));
  RETURN_IF_ERROR(read_attentions(keys, traits, model, parts));
  ASSIGN_OR_RETURN(const double scale, keys.number_or("residual_scale", 0));
  ASSIGN_OR_RETURN(const auto networks, read_networks(keys, traits, parts, model));
  const int64_t mixing = first_layer(parts, [](const LayerParts& p) { return !p.mixers.empty(); });
  const int64_t networked = first_layer(parts, [](const LayerParts& p) { return p.network; });
  const LayerNorms norms = read_layer_norms(keys, traits, model, std::max<int64_t>(mixing, 0),
                                            std::max<int64_t>(networked, 0));
  if (networked >= 0) rename_short_norm(keys, networked, model);
  for (size_t layer = 0; layer < parts.size(); ++layer) {
    model.layers.push_back(assemble(norms, traits, parts[layer].mixers, networks[layer],
                                    scale == 0 ? 1 : static_cast<float>(scale)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelSpec> read_outside_of_layers(ArchReader& keys, const DecoderTraits& traits) {
  ModelSpec model;
  ASSIGN_OR_RETURN(model.name, keys.checkpoint().metadata().string_or("general.name", ""));
  model.architecture = keys.architecture();
  RETURN_IF_ERROR(check_layout(keys, traits));
  RETURN_IF_ERROR(keys.layer_count().status());
  ASSIGN_OR_RETURN(model.width, keys.integer("embedding_length", 1, kWidthMax));
  ASSIGN_OR_RETURN(const int64_t context, keys.integer("context_length", 1, kContextMax));
  model.context_max = static_cast<int32_t>(context);
  RETURN_IF_ERROR(read_ends(keys, traits, model));
  return model;
}

absl::StatusOr<ModelSpec> read_decoder(ArchReader& keys, const DecoderTraits& traits) {
  ASSIGN_OR_RETURN(ModelSpec model, read_outside_of_layers(keys, traits));
  RETURN_IF_ERROR(read_layers(keys, traits, model));
  if (keys.has_tensor("rope_factors_long.weight")) {
    for (const char* name : {"rope_factors_long.weight", "rope_factors_short.weight"}) {
      model.unused.emplace_back(name);  // of the two, what the rope did not choose
    }
  }
  return model;
}

absl::Status drop_predictors(ArchReader& keys, ModelSpec& model) {
  const auto layers = std::ssize(model.layers);
  ASSIGN_OR_RETURN(const int64_t predictors,
                   keys.integer_or("nextn_predict_layers", 0, layers - 1, 0));
  model.layers.resize(static_cast<size_t>(layers - predictors));
  for (int64_t layer = layers - predictors; layer < layers; ++layer) {
    const std::string prefix = fmt::format("blk.{}.", layer);
    for (const NamedTensor& tensor : keys.checkpoint().tensors()) {
      if (tensor.name.starts_with(prefix)) model.unused.push_back(tensor.name);
    }
  }
  return absl::OkStatus();
}

}  // namespace millrace
