#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "nn/attention/rope.h"
#include "nn/body.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/workspace_layout.h"
#include "tensor/kv_layer.h"

namespace millrace {

// Norms of queries and keys.
struct QueryKeyNormSpec {
  enum class Scope : uint8_t {
    kHeads,     // of each head, one weight for all of them (Qwen 3)
    kEachHead,  // of each head, each with its own weight (Cohere)
    kAllHeads   // of all heads together, before the rotation (OLMo 2)
  };
  NormSpec query, key;
  Scope scope = Scope::kHeads;
  bool after_rotation = false;
};

struct AttentionSpec {
  // Sigmoids of the input that weigh what attention makes, before the output matrix.
  enum class Gate : uint8_t {
    kNone,
    kElements,  // attn_q makes of each head its query, then its gates (Qwen3-Next)
    kHeads      // attn_gate makes one of each head (LFM3)
  };
  int64_t width = 0;     // of the residual stream
  int32_t heads = 0;     // query heads, a multiple of kv_heads
  int32_t kv_heads = 0;  // multi-, grouped- or multi-query
  int32_t head_dim = 0;
  int32_t window = 0;   // a query at p sees keys above p - window; 0: all
  int32_t chunk = 0;    // a query at p sees keys from p - p % chunk on (Llama 4); 0: all
  float scale = 0;      // of the scores
  float softcap = 0;    // scores become softcap * tanh(score / softcap) (Gemma 2); 0: they stay
  bool biases = false;  // of queries, keys and values
  bool output_bias = false;
  std::optional<RopeSpec> rope = std::nullopt;
  QueryKeyNormSpec norms = {};
  NormSpec value_norm = {};      // of each head (Gemma 4)
  bool values_are_keys = false;  // values are made as keys are, before norm and rotation (Gemma 4)
  int32_t shared = -1;           // as KvSpec's: it has queries alone
  NormSpec output_norm = {};     // before the output matrix (BitNet)
  Gate gate = Gate::kNone;
  bool sinks = false;        // for each head a score that takes part without a value (gpt-oss)
  float alibi_bias_max = 0;  // ALiBi (Press et al. 2022); 0: none
  // As ops::Rotation has them; 0: queries are not scaled by their position.
  float temperature = 0;
  int32_t temperature_length = 0;
  int32_t temperature_offset = 0;

  int64_t query_width() const { return int64_t{heads} * head_dim; }
  int64_t kv_width() const { return int64_t{kv_heads} * head_dim; }
  bool keeps() const { return shared < 0; }
  // Of what is made of the stream besides queries.
  int64_t key_columns() const { return keeps() ? kv_width() : 0; }
  int64_t value_columns() const { return keeps() && !values_are_keys ? kv_width() : 0; }
  KvShape kv_shape() const {
    return {.heads = kv_heads, .key_dim = head_dim, .value_dim = head_dim};
  }
  KvSpec kv(DType cache) const;
  std::unique_ptr<Body> make(RopeTable& ropes) const;
};

// Softmax attention over the paged cache.
class Attention final : public Body {
 public:
  Attention(const AttentionSpec& spec, RopeTable& ropes);

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override;
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace& place, int lanes) const override;
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  struct Workspace {
    Rows<float> qkv;         // [rows, product_width() + key_columns + value_columns]
    Rows<float> queries;     // [rows, query_width], where they lie among gates
    Rows<float> head_gates;  // [rows, heads]
    Rows<float> gates;       // [rows, query_width]
    Rows<float> mixed;       // [rows, query_width]
    Activations mixed_in;    // the same in the form that the output matrix reads
  };
  // Of what attn_q makes.
  int64_t product_width() const;
  absl::Status load_norms(Weights& weights);
  absl::Status load_gate(Weights& weights);
  // Takes the products apart.
  void spread(Lane& lane, const Ops& ops, const Workspace& work) const;
  ops::AttentionShape shape() const;
  KvLayer cache_of(const KvPlace& place) const;
  ops::Rotation rotation(const BodyContext& context) const;
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;

  AttentionSpec spec_;
  int32_t rope_ = -1;  // in the model's table
  Linear qkv_;         // [product_width() + key_columns + value_columns, width]
  Linear gate_;        // [heads, width], of Gate::kHeads
  // Of a query's and a gate's elements in the product that makes them.
  std::vector<int32_t> query_columns_, gate_columns_;
  ops::HeadNorms head_norms_;
  std::optional<ops::Norm> query_norm_, key_norm_;  // of all heads together
  std::optional<ops::Norm> output_norm_;
  std::span<const float> sinks_;  // [heads]
  std::vector<float> slopes_;     // [heads]
  Linear output_;                 // [width, query_width]
};

}  // namespace millrace
