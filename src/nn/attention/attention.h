#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nn/linear.h"
#include "nn/sublayer.h"
#include "nn/workspace_layout.h"

namespace millrace {

struct AttentionSpec {
  int64_t width = 0;     // of the residual stream
  int32_t heads = 0;     // query heads, a multiple of kv_heads
  int32_t kv_heads = 0;  // multi-, grouped- or multi-query
  int32_t head_dim = 0;
  int32_t window = 0;   // a query at p sees keys above p - window; 0: all
  float scale = 0;      // of the scores
  bool biases = false;  // of queries, keys and values
  bool output_bias = false;
  bool head_norms = false;  // RMS norm of each query and key head
  float norm_epsilon = 0;

  int64_t query_width() const { return int64_t{heads} * head_dim; }
  int64_t kv_width() const { return int64_t{kv_heads} * head_dim; }
};

// What such a layer keeps of a sequence: a key and a value for each token.
KvSpec kv_spec(const AttentionSpec& spec, DType cache);

// Softmax attention over the paged cache.
class Attention final : public Sublayer {
 public:
  explicit Attention(const AttentionSpec& spec) : spec_(spec) {}

  KvSpec kv(DType cache) const override;
  absl::Status load(Weights& weights) override;
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace& place, int lanes) const override;
  void forward(Lane& lane, const ForwardContext& context) const override;

 private:
  struct Workspace {
    Activations normed;    // [rows, width]
    Rows<float> qkv;       // [rows, query_width + 2 * kv_width]
    Rows<float> mixed;     // [rows, query_width]
    Activations mixed_in;  // the same in the form that the output matrix reads
  };
  ops::AttentionShape shape() const;
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;

  AttentionSpec spec_;
  std::span<const float> norm_;  // [width]
  ops::HeadNorms head_norms_;
  Linear qkv_;     // [query_width + 2 * kv_width, width]
  Linear output_;  // [width, query_width]
};

}  // namespace millrace
