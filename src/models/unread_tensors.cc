#include "models/unread_tensors.h"

#include <charconv>
#include <string>

#include "base/log.h"

namespace millrace {
namespace {

struct KnownPart {
  std::string_view part;  // of the tensor's name
  std::string_view what;
};

// The first that the name holds counts.
constexpr KnownPart kKnownParts[] = {
    {"attn_sinks", "attention sinks"},
    {"ffn_gate_inp", "mixtures of experts"},
    {"exps", "mixtures of experts"},
    {"shexp", "mixtures of experts"},
    {"exp_probs", "mixtures of experts"},
    {".lora_", "an adapter within the model"},
    {"ssm_", "state-space layers"},
    {"time_mix", "recurrent layers"},
    {"channel_mix", "recurrent layers"},
    {"shortconv", "convolutions"},
    {"nextn", "prediction of several tokens at once"},
    {"attn_qkv", "queries, keys and values in one matrix in some of the layers"},
    {"attn_q_a", "latent attention"},
    {"attn_kv_a", "latent attention"},
    {"attn_kv_b", "latent attention"},
    {"cross_attn", "attention to an encoder"},
    {"post_attention_norm", "norms after attention in some of the layers"},
    {"attn_post_norm", "norms after attention in some of the layers"},
    {"post_ffw_norm", "norms after the feed-forward network in some of the layers"},
    {"ffn_post_norm", "norms after the feed-forward network in some of the layers"},
    {"attn_q_norm", "norms of query heads in some of the layers"},
    {"attn_k_norm", "norms of key heads without those of query heads"},
    {"attn_sub_norm", "norms within attention in some of the layers"},
    {"ffn_sub_norm", "norms within the feed-forward network in some of the layers"},
    {"attn_norm_2", "two norms before attention in this architecture"},
    {"norm.bias", "biases of norms in some of the layers"},
    {"attn_q.bias", "biases of queries in some of the layers, or in this architecture"},
    {"attn_k.bias", "biases of keys without those of queries in every layer"},
    {"attn_v.bias", "biases of values without those of queries in every layer"},
    {"attn_output.bias", "biases of attention's output in some of the layers"},
    {"ffn_gate.bias", "biases of the feed-forward network in some of the layers"},
    {"ffn_up.bias", "biases of the feed-forward network in some of the layers"},
    {"ffn_down.bias", "biases of the feed-forward network in some of the layers"},
    {"attn_gate", "gates of attention"},
    {"rope_factors", "LongRoPE's factors"},
    {"rope_freqs", "rope factors of single layers"},
    {"attn_rot_embd", "rope frequencies of single layers"},
    {"token_types", "token types"},
    {"per_layer", "embeddings of single layers"},
    {"altup", "alternating updates"},
    {"laurel", "learned augmented residuals"},
    {"cls", "a classifier: the file is a reranker"},
    {"input_scale", "scales of a product's input"},
    {".scale", "scales of whole tensors"},
    {"enc.", "encoders"},
    {"dec.", "encoders with decoders"},
    {"v.blk", "a vision tower"},
    {"mm.", "a projector of images"},
    {".bias", "this bias"},
};

// The layer that a tensor of a layer is of, otherwise -1.
int64_t layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  if (!name.starts_with(kPrefix)) return -1;
  int64_t layer = -1;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  return layer;
}

}  // namespace

absl::Status refuse_tensor(std::string_view name, const ModelSpec& spec) {
  const std::string shown = escape_for_log(name);
  const int64_t layers = std::ssize(spec.layers);
  if (layer_of(name) >= layers) {
    return unimplemented(
        "tensor '{}' is of a layer that the model does not have: key '{}.block_count' "
        "is {}",
        shown, spec.architecture, layers);
  }
  for (const KnownPart& known : kKnownParts) {
    if (name.find(known.part) != std::string_view::npos) {
      return unimplemented("tensor '{}' would not be used: not supported: {}", shown, known.what);
    }
  }
  return unimplemented("tensor '{}' would not be used: Millrace does not know what it is for",
                       shown);
}

}  // namespace millrace
