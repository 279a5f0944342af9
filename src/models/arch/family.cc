#include "models/arch/family.h"

#include <array>
#include <cmath>

#include "base/check.h"
#include "base/log.h"
#include "tensor/kv_layer.h"

namespace millrace {
namespace {

// Bounds far above every published model, so that products of two dimensions fit into int64 and a
// lie in a file is named instead of tried.
constexpr int64_t kLayersMax = 4096;
constexpr int64_t kWidthMax = 1 << 20;
constexpr int64_t kHiddenMax = 1 << 22;
constexpr int64_t kHeadsMax = 4096;
constexpr int64_t kContextMax = 1 << 30;
constexpr int64_t kVocabMax = 1 << 24;

bool has_tensor(const Checkpoint& checkpoint, Role role) {
  return checkpoint.find(gguf_tensor_name(role, 0)) != nullptr;
}

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

absl::Status read_yarn(ArchReader& keys, int32_t context_max, RopeScaling& scaling) {
  scaling.kind = RopeScaling::Kind::kYarn;
  ASSIGN_OR_RETURN(scaling.original_context,
                   keys.positive_or("rope.scaling.original_context_length", context_max));
  ASSIGN_OR_RETURN(scaling.beta_fast, yarn_beta(keys, "rope.scaling.yarn_beta_fast", 32));
  ASSIGN_OR_RETURN(scaling.beta_slow, yarn_beta(keys, "rope.scaling.yarn_beta_slow", 1));
  ASSIGN_OR_RETURN(scaling.attention_factor, keys.positive_or("rope.scaling.attn_factor", 1));
  RETURN_IF_ERROR(check_is_usual(keys, "rope.scaling.yarn_ext_factor", 1));
  return check_is_usual(keys, "rope.scaling.yarn_attn_factor", 1);
}

absl::StatusOr<RopeScaling> read_rope_scaling(ArchReader& keys, int32_t context_max) {
  RopeScaling scaling;
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
  if (kind == "none") return scaling;
  scaling.factor = factor;
  if (kind == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
    return scaling;
  }
  if (kind != "yarn") {
    return unimplemented(
        "key '{}': rope scaling '{}' is not supported; supported are: none, "
        "linear, yarn",
        keys.name("rope.scaling.type"), escape_for_log(kind.substr(0, 40)));
  }
  RETURN_IF_ERROR(read_yarn(keys, context_max, scaling));
  return scaling;
}

absl::StatusOr<RopeSpec> read_rope(ArchReader& keys, const FamilyTraits& traits, int32_t head_dim,
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
  ASSIGN_OR_RETURN(rope.scaling, read_rope_scaling(keys, context_max));
  rope.has_factors = has_tensor(keys.checkpoint(), Role::kRopeFactors);
  return rope;
}

absl::StatusOr<int32_t> read_head_dim(ArchReader& keys, int64_t width, int64_t heads) {
  if (!keys.has("attention.key_length") && width % heads != 0) {
    return invalid_argument("key '{}' is {}, which does not divide the width {}",
                            keys.name("attention.head_count"), heads, width);
  }
  ASSIGN_OR_RETURN(const int64_t key_length,
                   keys.integer_or("attention.key_length", 2, kWidthMax, width / heads));
  if (key_length < 2 || key_length > kHeadDimMax) {
    return unimplemented("heads of {} dimensions ('{}'): supported are 2 to {}", key_length,
                         keys.name("attention.key_length"), kHeadDimMax);
  }
  ASSIGN_OR_RETURN(const int64_t value_length,
                   keys.integer_or("attention.value_length", 2, kWidthMax, key_length));
  if (key_length != value_length) {
    return unimplemented("keys of {} and values of {} dimensions in a head ('{}')", key_length,
                         value_length, keys.name("attention.value_length"));
  }
  return static_cast<int32_t>(key_length);
}

absl::StatusOr<int32_t> read_window(ArchReader& keys, const FamilyTraits& traits,
                                    int32_t context_max) {
  ASSIGN_OR_RETURN(const int64_t window,
                   keys.integer_or("attention.sliding_window", 0, kContextMax, 0));
  if (window == 0 || window >= context_max) {
    keys.pass_over("attention.sliding_window_pattern");
    return 0;
  }
  if (!traits.window || keys.has("attention.sliding_window_pattern")) {
    return unimplemented("key '{}': a sliding window in some of the layers is not supported yet",
                         keys.name("attention.sliding_window"));
  }
  return static_cast<int32_t>(window);
}

// 0: the usual scale.
absl::StatusOr<float> read_attention_scale(ArchReader& keys, int32_t head_dim) {
  ASSIGN_OR_RETURN(double scale, keys.number_or("attention.scale", 0));
  if (scale == 0) scale = 1 / std::sqrt(double{1} * head_dim);
  if (scale > 0) return static_cast<float>(scale);
  return invalid_argument("key '{}' is {}, but must be positive", keys.name("attention.scale"),
                          scale);
}

absl::StatusOr<AttentionSpec> read_attention(ArchReader& keys, const FamilyTraits& traits,
                                             const ModelSpec& model) {
  AttentionSpec spec = {
      .width = model.width, .head_norms = traits.head_norms, .norm_epsilon = model.norm_epsilon};
  ASSIGN_OR_RETURN(const int64_t heads, keys.integer("attention.head_count", 1, kHeadsMax));
  ASSIGN_OR_RETURN(const int64_t kv_heads,
                   keys.integer_or("attention.head_count_kv", 1, heads, heads));
  if (heads % kv_heads != 0) {
    return invalid_argument("key '{}' is {}, which does not divide the {} query heads",
                            keys.name("attention.head_count_kv"), kv_heads, heads);
  }
  spec.heads = static_cast<int32_t>(heads);
  spec.kv_heads = static_cast<int32_t>(kv_heads);
  ASSIGN_OR_RETURN(spec.head_dim, read_head_dim(keys, model.width, heads));
  ASSIGN_OR_RETURN(spec.window, read_window(keys, traits, model.context_max));
  ASSIGN_OR_RETURN(spec.scale, read_attention_scale(keys, spec.head_dim));
  const Checkpoint& checkpoint = keys.checkpoint();
  spec.biases = traits.biases == Presence::kRequired ||
                (traits.biases == Presence::kOptional && has_tensor(checkpoint, Role::kQueryBias));
  spec.output_bias = has_tensor(checkpoint, Role::kAttentionOutputBias);
  return spec;
}

// The embedding says how many tokens there are; the tokenizer must agree, or it would make ids that
// the model does not know.
absl::StatusOr<int32_t> read_vocab_size(ArchReader& keys) {
  const Checkpoint& checkpoint = keys.checkpoint();
  const std::string name = gguf_tensor_name(Role::kTokenEmbedding, 0);
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
absl::Status check_layout(ArchReader& keys, const FamilyTraits& traits) {
  constexpr std::string_view kKey = "tensor_data_layout";
  const std::string_view usual =
      traits.pairs == ops::Rope::Pairs::kNeighbours ? "Meta AI original pth" : "reference";
  ASSIGN_OR_RETURN(const std::string_view layout, keys.string_or(kKey, usual));
  if (layout == usual) return absl::OkStatus();
  return unimplemented("key '{}' is '{}': only '{}' is supported", keys.name(kKey),
                       escape_for_log(layout.substr(0, 40)), usual);
}

}  // namespace

absl::StatusOr<ModelSpec> read_family(ArchReader& keys, const FamilyTraits& traits) {
  const Checkpoint& checkpoint = keys.checkpoint();
  ModelSpec spec;
  spec.tensor_name = gguf_tensor_name;
  ASSIGN_OR_RETURN(const std::string_view name,
                   checkpoint.metadata().string_or("general.name", ""));
  spec.architecture = keys.architecture();
  spec.name = name;
  RETURN_IF_ERROR(check_layout(keys, traits));
  ASSIGN_OR_RETURN(const int64_t layers, keys.integer("block_count", 1, kLayersMax));
  ASSIGN_OR_RETURN(spec.width, keys.integer("embedding_length", 1, kWidthMax));
  ASSIGN_OR_RETURN(const int64_t hidden, keys.integer("feed_forward_length", 1, kHiddenMax));
  ASSIGN_OR_RETURN(const int64_t context, keys.integer("context_length", 1, kContextMax));
  spec.context_max = static_cast<int32_t>(context);
  ASSIGN_OR_RETURN(const double epsilon, keys.positive("attention.layer_norm_rms_epsilon"));
  spec.norm_epsilon = static_cast<float>(epsilon);
  ASSIGN_OR_RETURN(spec.vocab_size, read_vocab_size(keys));
  ASSIGN_OR_RETURN(const AttentionSpec attention, read_attention(keys, traits, spec));
  ASSIGN_OR_RETURN(spec.rope, read_rope(keys, traits, attention.head_dim, spec.context_max));
  const FfnSpec ffn = {.width = spec.width, .hidden = hidden, .norm_epsilon = spec.norm_epsilon};
  spec.layers.assign(static_cast<size_t>(layers), {{attention, ffn}});
  spec.tied_embeddings = !has_tensor(checkpoint, Role::kOutput);
  return spec;
}

std::string gguf_tensor_name(Role role, int32_t layer) {
  const auto in_layer = [&](std::string_view name) {
    return fmt::format("blk.{}.{}", layer, name);
  };
  switch (role) {
    case Role::kTokenEmbedding:
      return "token_embd.weight";
    case Role::kRopeFactors:
      return "rope_freqs.weight";
    case Role::kOutputNorm:
      return "output_norm.weight";
    case Role::kOutput:
      return "output.weight";
    case Role::kAttentionNorm:
      return in_layer("attn_norm.weight");
    case Role::kQuery:
      return in_layer("attn_q.weight");
    case Role::kQueryBias:
      return in_layer("attn_q.bias");
    case Role::kQueryNorm:
      return in_layer("attn_q_norm.weight");
    case Role::kKey:
      return in_layer("attn_k.weight");
    case Role::kKeyBias:
      return in_layer("attn_k.bias");
    case Role::kKeyNorm:
      return in_layer("attn_k_norm.weight");
    case Role::kValue:
      return in_layer("attn_v.weight");
    case Role::kValueBias:
      return in_layer("attn_v.bias");
    case Role::kAttentionOutput:
      return in_layer("attn_output.weight");
    case Role::kAttentionOutputBias:
      return in_layer("attn_output.bias");
    case Role::kFfnNorm:
      return in_layer("ffn_norm.weight");
    case Role::kGate:
      return in_layer("ffn_gate.weight");
    case Role::kUp:
      return in_layer("ffn_up.weight");
    case Role::kDown:
      return in_layer("ffn_down.weight");
  }
  CHECK(false, "role {}", static_cast<int>(role));
}

}  // namespace millrace
