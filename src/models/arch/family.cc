#include "models/arch/family.h"

#include <array>
#include <cmath>

#include "base/check.h"
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

// The keys of one architecture: "llama.context_length" and so on.
class Keys {
 public:
  Keys(const Metadata& metadata, std::string_view architecture)
      : metadata_(metadata), prefix_(architecture) {}

  std::string name(std::string_view key) const { return fmt::format("{}.{}", prefix_, key); }
  bool has(std::string_view key) const { return metadata_.has(name(key)); }
  absl::StatusOr<int64_t> integer(std::string_view key, int64_t min, int64_t max) const {
    return metadata_.integer(name(key), min, max);
  }
  absl::StatusOr<int64_t> integer_or(std::string_view key, int64_t min, int64_t max,
                                     int64_t fallback) const {
    return metadata_.integer_or(name(key), min, max, fallback);
  }
  absl::StatusOr<double> positive_or(std::string_view key, double fallback) const {
    ASSIGN_OR_RETURN(const double value, metadata_.number_or(name(key), fallback));
    if (has(key) && !(value > 0)) {
      return invalid_argument("key '{}' is {}, but must be positive", name(key), value);
    }
    return value;
  }
  absl::StatusOr<std::string_view> string_or(std::string_view key,
                                             std::string_view fallback) const {
    return metadata_.string_or(name(key), fallback);
  }

 private:
  const Metadata& metadata_;
  std::string prefix_;
};

bool has_tensor(const Checkpoint& checkpoint, Role role) {
  return checkpoint.find(gguf_tensor_name(role, 0)) != nullptr;
}

absl::Status refuse_unknown_parts(const Keys& keys) {
  ASSIGN_OR_RETURN(const int64_t experts, keys.integer_or("expert_count", 0, kHiddenMax, 0));
  if (experts > 0) {
    return unimplemented("key '{}' is {}: mixtures of experts are not supported yet",
                         keys.name("expert_count"), experts);
  }
  for (const std::string_view key : {"logit_scale", "residual_scale", "embedding_scale"}) {
    if (keys.has(key)) return unimplemented("key '{}' is not supported", keys.name(key));
  }
  return absl::OkStatus();
}

absl::StatusOr<RopeScaling> read_rope_scaling(const Keys& keys, int32_t context_max) {
  RopeScaling scaling;
  ASSIGN_OR_RETURN(const double legacy, keys.positive_or("rope.scale_linear", 1));
  ASSIGN_OR_RETURN(const std::string_view kind, keys.string_or("rope.scaling.type", "linear"));
  if (kind == "none") return scaling;
  ASSIGN_OR_RETURN(scaling.factor, keys.positive_or("rope.scaling.factor", legacy));
  if (kind == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
    return scaling;
  }
  if (kind != "yarn") {
    return unimplemented(
        "key '{}': rope scaling '{}' is not supported; supported are: none, "
        "linear, yarn",
        keys.name("rope.scaling.type"), kind);
  }
  scaling.kind = RopeScaling::Kind::kYarn;
  ASSIGN_OR_RETURN(scaling.original_context,
                   keys.positive_or("rope.scaling.original_context_length", context_max));
  ASSIGN_OR_RETURN(scaling.beta_fast, keys.positive_or("rope.scaling.yarn_beta_fast", 32));
  ASSIGN_OR_RETURN(scaling.beta_slow, keys.positive_or("rope.scaling.yarn_beta_slow", 1));
  ASSIGN_OR_RETURN(scaling.attention_factor, keys.positive_or("rope.scaling.attn_factor", 1));
  if (keys.has("rope.scaling.yarn_log_multiplier")) {
    return unimplemented("key '{}' is not supported",
                         keys.name("rope.scaling.yarn_log_multiplier"));
  }
  return scaling;
}

absl::StatusOr<RopeSpec> read_rope(const Checkpoint& checkpoint, const Keys& keys,
                                   const FamilyTraits& traits, int32_t head_dim,
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
  rope.has_factors = has_tensor(checkpoint, Role::kRopeFactors);
  return rope;
}

absl::StatusOr<int32_t> read_head_dim(const Keys& keys, int64_t width, int64_t heads) {
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

absl::StatusOr<int32_t> read_window(const Keys& keys, const FamilyTraits& traits,
                                    int32_t context_max) {
  ASSIGN_OR_RETURN(const int64_t window,
                   keys.integer_or("attention.sliding_window", 0, kContextMax, 0));
  if (window >= context_max) return 0;
  if (window > 0 && (!traits.window || keys.has("attention.sliding_window_pattern"))) {
    return unimplemented("key '{}': a sliding window in some of the layers is not supported yet",
                         keys.name("attention.sliding_window"));
  }
  return static_cast<int32_t>(window);
}

absl::StatusOr<AttentionSpec> read_attention(const Checkpoint& checkpoint, const Keys& keys,
                                             const FamilyTraits& traits, const ModelSpec& model) {
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
  ASSIGN_OR_RETURN(const double scale,
                   keys.positive_or("attention.scale", 1 / std::sqrt(double{1} * spec.head_dim)));
  spec.scale = static_cast<float>(scale);
  spec.biases = traits.biases == Presence::kRequired ||
                (traits.biases == Presence::kOptional && has_tensor(checkpoint, Role::kQueryBias));
  spec.output_bias = has_tensor(checkpoint, Role::kAttentionOutputBias);
  return spec;
}

// The embedding says how many tokens there are; the tokenizer must agree, or it would make ids that
// the model does not know.
absl::StatusOr<int32_t> read_vocab_size(const Checkpoint& checkpoint) {
  const std::string name = gguf_tensor_name(Role::kTokenEmbedding, 0);
  const NamedTensor* embedding = checkpoint.find(name);
  if (embedding == nullptr) return not_found("tensor '{}' is missing", name);
  const int64_t size = embedding->view.rows();
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
  return static_cast<int32_t>(size);
}

}  // namespace

absl::StatusOr<ModelSpec> read_family(const Checkpoint& checkpoint, const FamilyTraits& traits) {
  const Metadata& metadata = checkpoint.metadata();
  ModelSpec spec;
  spec.tensor_name = gguf_tensor_name;
  ASSIGN_OR_RETURN(const std::string_view architecture, metadata.string("general.architecture"));
  ASSIGN_OR_RETURN(const std::string_view name, metadata.string_or("general.name", ""));
  spec.architecture = architecture;
  spec.name = name;
  const Keys keys(metadata, architecture);
  RETURN_IF_ERROR(refuse_unknown_parts(keys));
  ASSIGN_OR_RETURN(const int64_t layers, keys.integer("block_count", 1, kLayersMax));
  ASSIGN_OR_RETURN(spec.width, keys.integer("embedding_length", 1, kWidthMax));
  ASSIGN_OR_RETURN(const int64_t hidden, keys.integer("feed_forward_length", 1, kHiddenMax));
  ASSIGN_OR_RETURN(const int64_t context, keys.integer("context_length", 1, kContextMax));
  spec.context_max = static_cast<int32_t>(context);
  ASSIGN_OR_RETURN(const double epsilon,
                   keys.positive_or("attention.layer_norm_rms_epsilon", 1e-5));
  spec.norm_epsilon = static_cast<float>(epsilon);
  ASSIGN_OR_RETURN(spec.vocab_size, read_vocab_size(checkpoint));
  ASSIGN_OR_RETURN(const AttentionSpec attention, read_attention(checkpoint, keys, traits, spec));
  ASSIGN_OR_RETURN(spec.rope,
                   read_rope(checkpoint, keys, traits, attention.head_dim, spec.context_max));
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
