#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "nn/body.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/recurrent/conv_weights.h"
#include "nn/workspace_layout.h"

namespace millrace {

struct DeltaNetSpec {
  // How the inputs' matrices are called and stacked.
  enum class Tensors : uint8_t {
    kJoined,  // attn_qkv, attn_gate, ssm_ba (of each key head its betas, then its alphas)
              // (Qwen3-Next)
    kApart,   // attn_qkv, attn_gate, ssm_beta, ssm_alpha (Qwen3.5)
    // Kimi delta attention: attn_q, attn_k, attn_v, ssm_beta; decays of each key from ssm_f_a and
    // ssm_f_b, gates from ssm_g_a and ssm_g_b; the output matrix is attn_output.
    kLowRank,
  };
  Tensors tensors = Tensors::kJoined;
  int64_t width = 0;           // of the residual stream
  int64_t heads = 0;           // of values
  int64_t key_heads = 0;       // of queries and keys, divides heads; kLowRank: as many as heads
  bool heads_in_turn = false;  // value head h reads key head h % key_heads, else neighbours share
  int64_t key_dim = 0;
  int64_t value_dim = 0;
  int64_t rank = 0;  // of kLowRank's decays and gates
  int64_t conv_kernel = 0;
  bool conv_bias = false;
  float l2_epsilon = 1e-6F;  // of the norms of queries and keys
  NormSpec norm = {};        // of each head's output
  ops::ElementFunction gate = {.kind = ops::ElementFunction::Kind::kActivation};  // silu

  KvSpec kv(DType cache) const;
  std::unique_ptr<Body> make(RopeTable& ropes) const;

  int64_t keys_width() const { return key_heads * key_dim; }
  int64_t values_width() const { return heads * value_dim; }
  int64_t conv_channels() const { return 2 * keys_width() + values_width(); }
};

// Gated delta nets (Yang et al. 2024) and, with decays of each key, Kimi delta attention (Kimi Team
// 2025): q, k, v = silu(conv(in(input))), q and k of length 1; beta = sigmoid(in(input)), decay =
// e^(rate * softplus(in(input) + bias)); of each head a state of [key_dim, value_dim], S = decay S;
// S = S + k (beta (v - S^T k))^T, y = S^T q / sqrt(key_dim); out(norm(y) * gate(in(input))).
// Tensors besides the matrices: ssm_conv1d (kLowRank: ssm_conv1d_q, _k and _v), ssm_dt.bias, ssm_a
// = -e^A_log [heads], the norm's [value_dim], ssm_out.
class DeltaNet final : public Body {
 public:
  explicit DeltaNet(const DeltaNetSpec& spec) : spec_(spec) {}

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override { return in_.input_forms(); }
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace&, int) const override { return 0; }
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  struct Workspace {
    Rows<float> in;        // [rows, in_width()]
    Rows<float> conv;      // [rows, conv_channels]
    Rows<float> betas;     // [rows, heads]
    Rows<float> decays;    // [rows, decays_width()]
    Rows<float> gates;     // [rows, values_width]
    Activations low_in;    // [rows, rank], of kLowRank
    Rows<float> mixed;     // [rows, values_width]
    Activations mixed_in;  // the same for the output matrix
  };
  bool is_low_rank() const { return spec_.tensors == DeltaNetSpec::Tensors::kLowRank; }
  int64_t in_width() const;
  int64_t decays_width() const { return spec_.heads * (is_low_rank() ? spec_.key_dim : 1); }
  absl::Status load_inputs(Weights& weights);
  absl::Status load_conv(Weights& weights);
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;
  void low_rank(Lane& lane, const Ops& ops, const Workspace& work) const;
  void decays_and_strengths(Lane& lane, const Ops& ops, const Workspace& work) const;
  void scan(Lane& lane, const BodyContext& context, const Workspace& work) const;

  DeltaNetSpec spec_;
  Linear in_;
  Linear low_decays_, low_gates_;  // [heads * key_dim, rank], [values_width, rank]
  ConvWeights conv_;
  std::vector<int32_t> beta_columns_, alpha_columns_;  // of kJoined, in ssm_ba's product
  std::vector<float> l2_weight_;                       // [key_dim], 1 / sqrt(key_dim)
  std::span<const float> bias_;                        // [decays_width]
  std::span<const float> rates_;                       // [heads]
  std::optional<ops::Norm> norm_;
  Linear out_;
};

}  // namespace millrace
