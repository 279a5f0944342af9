#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "nn/body.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/recurrent/conv_weights.h"
#include "nn/workspace_layout.h"

namespace millrace {

struct Mamba2Spec {
  int64_t width = 0;  // of the residual stream
  int64_t inner = 0;  // channels, heads of inner / heads each
  int64_t heads = 0;
  int64_t groups = 1;  // of heads, which share B and C; divides heads
  int64_t state_dim = 0;
  int64_t conv_kernel = 0;
  bool conv_bias = true;
  bool input_bias = false;
  bool output_bias = false;
  NormSpec norm = {};  // of each group's channels, before the output matrix; none: only the gate
  bool norm_before_gate = false;
  float step_smallest = 0;
  float step_largest = 3.0e38F;

  KvSpec kv(DType cache) const;
  std::unique_ptr<Body> make(RopeTable& ropes) const;

  int64_t head_dim() const { return inner / heads; }
  int64_t conv_channels() const { return inner + 2 * groups * state_dim; }
};

// Mamba-2 (Dao and Gu 2024): z, x, B, C, steps = in(input); x, B, C = silu(conv(x, B, C)); of each
// head a state of [state_dim, head_dim], S = e^(rate * step) S + B (step * x)^T, y = S^T C + d x;
// out(norm(y * silu(z))). Tensors: ssm_in, ssm_conv1d, ssm_dt.bias, ssm_a [heads, 1] = -e^A_log,
// ssm_d [heads, 1], the norm's [groups, inner / groups], ssm_out.
class Mamba2 final : public Body {
 public:
  explicit Mamba2(const Mamba2Spec& spec) : spec_(spec) {}

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override { return in_.input_forms(); }
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace&, int) const override { return 0; }
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  struct Workspace {
    Rows<float> in;        // [rows, inner + conv_channels + heads]: z; x, B, C; steps
    Rows<float> conv;      // [rows, conv_channels]
    Rows<float> steps;     // [rows, heads]
    Rows<float> decays;    // [rows, heads]
    Rows<float> mixed;     // [rows, inner]
    Activations mixed_in;  // the same for the output matrix
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;
  void gate_and_norm(Lane& lane, const Ops& ops, Rows<float> z, Rows<float> mixed) const;

  Mamba2Spec spec_;
  Linear in_;
  ConvWeights conv_;
  std::span<const float> step_bias_;  // [heads]
  std::span<const float> rates_;      // [heads]
  std::span<const float> skip_;       // [heads]
  std::optional<ops::Norm> norm_;
  Linear out_;
};

}  // namespace millrace
