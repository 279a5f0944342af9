#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "nn/attention/rope.h"
#include "nn/body.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/workspace_layout.h"

namespace millrace {

struct LinearAttentionSpec {
  enum class Feature : uint8_t {
    kNone,
    kSilu,        // of queries, keys and values (MiniMax)
    kEluPlusOne,  // of queries and keys (Katharopoulos et al. 2020)
  };
  // What outputs are divided by.
  enum class Normaliser : uint8_t {
    kNone,
    kKeys,          // the query times the sum of the decayed keys (Katharopoulos et al. 2020)
    kRootOfDecays,  // the root of the sum of all decays up to here (Sun et al. 2023)
  };
  enum class Gate : uint8_t { kNone, kSigmoid, kSilu };

  int64_t width = 0;  // of the residual stream
  int64_t heads = 0;
  int64_t key_dim = 0;
  int64_t value_dim = 0;
  // attn_qkv, of each head its query, key and value, which are equally wide; else attn_q, attn_k
  // and attn_v.
  bool joined = false;
  Feature feature = Feature::kNone;
  Normaliser normaliser = Normaliser::kNone;
  std::vector<float> decays;  // [heads], of each token
  float scale = 1;            // of outputs
  std::optional<RopeSpec> rope = std::nullopt;
  NormSpec norm = {};  // of all heads together or of each
  bool norm_heads = false;
  Gate gate = Gate::kNone;  // of attn_gate's product

  KvSpec kv(DType cache) const;
  std::unique_ptr<Body> make(RopeTable& ropes) const;

  int64_t keys_width() const { return heads * key_dim; }
  int64_t values_width() const { return heads * value_dim; }
  int64_t sums_state() const;  // floats of what the normaliser keeps
};

// The decays of lightning attention (Qin et al. 2024) as MiniMax has them in layer `layer` of
// `layers`: e^-slope, with ALiBi's slopes of a power of two of heads, smaller in later layers.
std::vector<float> lightning_decays(int64_t heads, int64_t layer, int64_t layers);
// 1 - 2^(-5 - head) (Sun et al. 2023).
std::vector<float> retention_decays(int64_t heads);
// The rotation of retention: neighbours, frequencies base^(-i / (key_dim / 2 - 1)).
RopeSpec retention_rope(int32_t key_dim, double base = 10000);

// Linear attention with a decay for each head: of each head a state of [key_dim, value_dim], S =
// decay S + k v^T, y = S^T q; out(norm(y) * gate(input)). With kEluPlusOne and kKeys that of
// Katharopoulos et al. 2020, with kSilu lightning attention (Qin et al. 2024), with a rotation and
// a norm of heads retention (Sun et al. 2023). The output matrix is attn_output.
class LinearAttention final : public Body {
 public:
  LinearAttention(const LinearAttentionSpec& spec, RopeTable& ropes);

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override { return in_.input_forms(); }
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace&, int) const override { return 0; }
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  struct Workspace {
    Rows<float> in;        // [rows, 2 * keys_width + values_width + the gates']
    Rows<float> sums;      // [rows, heads], where normalised
    Rows<float> mixed;     // [rows, values_width]
    Activations mixed_in;  // the same for the output matrix
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;
  int64_t qkv_width() const { return 2 * spec_.keys_width() + spec_.values_width(); }
  void apply_feature(Lane& lane, const BodyContext& context, Rows<float> in) const;
  void scan(Lane& lane, const BodyContext& context, const Workspace& work) const;
  void normalise(Lane& lane, const BodyContext& context, const ops::MatrixScan& scan,
                 const ops::MatrixScanRows& rows, const Workspace& work) const;

  LinearAttentionSpec spec_;
  int32_t rope_ = -1;        // in the model's table
  Linear in_;                // queries, keys, values, gates
  std::vector<float> ones_;  // [heads]
  std::optional<ops::Norm> norm_;
  Linear out_;
};

}  // namespace millrace
