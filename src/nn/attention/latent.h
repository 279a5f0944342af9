#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "nn/attention/rope.h"
#include "nn/body.h"
#include "nn/expert_linear.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/workspace_layout.h"
#include "tensor/kv_layer.h"

namespace millrace {

// Multi-head latent attention (DeepSeek-AI 2024, DeepSeek-V2, section 2.1).
struct LatentSpec {
  int64_t width = 0;  // of the residual stream
  int32_t heads = 0;
  int64_t query_rank = 0;  // queries come from a projection of so many elements; 0: from the stream
  int32_t latent_dim = 0;  // of what keys and values of all heads are made of
  int32_t plain_dim = 0;   // of a head's queries and keys that are not rotated
  int32_t rotated_dim = 0;  // of those that are, if there is a rope; all heads share the key's
  int32_t value_dim = 0;    // of a head
  float scale = 0;          // of the scores
  std::optional<RopeSpec> rope = std::nullopt;
  NormSpec query_norm = {};  // of the queries' projection
  NormSpec latent_norm = {};
  bool low_biases = false;  // of the projections that make these two
  bool output_bias = false;

  int32_t key_dim() const { return latent_dim + rotated_dim; }
  // The latent and the shared key, once for all heads; the latent is its own value.
  KvShape kv_shape() const;
  KvSpec kv(DType cache) const;
  // What a token would cost if keys and values of all heads were kept.
  int64_t heads_token_bytes(DType cache) const {
    return heads * row_bytes(cache, int64_t{plain_dim} + rotated_dim + value_dim);
  }
  std::unique_ptr<Body> make(RopeTable& ropes) const;
};

// With absorbed projections (section 2.1.2), whatever the number of rows: the queries' plain parts
// are brought to the latent's space, where all heads share one key, and what comes out of attention
// to the values'.
class Latent final : public Body {
 public:
  Latent(const LatentSpec& spec, RopeTable& ropes);

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override;
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace& place, int lanes) const override;
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  struct Workspace {
    Rows<float> low;       // [rows, query_rank + key_dim]
    Activations query_in;  // [rows, query_rank] normed; without rows where there is none
    Rows<float> plain;     // [rows, heads * plain_dim]
    Activations plain_in;
    Rows<float> queries;  // [rows, heads * key_dim]
    Rows<float> mixed;    // [rows, heads * latent_dim]
    Activations mixed_in;
    Rows<float> values;  // [rows, heads * value_dim]
    Activations values_in;
  };
  absl::Status load_low(Weights& weights);
  ActivationForms query_forms() const;  // of what queries are made of
  ops::AttentionShape shape() const;
  KvLayer cache_of(const KvPlace& place) const;
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;
  void make_queries(Lane& lane, const BodyContext& context, const Activations& in,
                    const Workspace& work) const;

  LatentSpec spec_;
  int32_t rope_ = -1;  // in the model's table
  Linear low_;         // [query_rank + key_dim, width]
  std::optional<ops::Norm> query_norm_;
  std::optional<ops::Norm> latent_norm_;
  ExpertLinear query_plain_;    // of each head: [plain_dim, query_rank or width]
  ExpertLinear query_rotated_;  // [rotated_dim, query_rank or width]
  ExpertLinear key_;            // [latent_dim, plain_dim]
  ExpertLinear value_;          // [value_dim, latent_dim]
  Linear output_;               // [width, heads * value_dim]
};

}  // namespace millrace
