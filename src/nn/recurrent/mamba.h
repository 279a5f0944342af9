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

struct MambaSpec {
  int64_t width = 0;      // of the residual stream
  int64_t inner = 0;      // channels
  int64_t state_dim = 0;  // of each channel
  int64_t step_rank = 0;  // of the matrix that makes time steps
  int64_t conv_kernel = 0;
  bool conv_bias = true;
  bool biases = false;  // of the input and output matrices
  // Of the low-rank time steps and of B and C (Jamba; Falcon-Mamba, whose norms have no weights).
  NormSpec step_norm = {};
  NormSpec b_norm = {};
  NormSpec c_norm = {};

  KvSpec kv(DType cache) const;
  std::unique_ptr<Body> make(RopeTable& ropes) const;
};

// Mamba (Gu and Dao 2023): x, z = in(input); x = silu(conv(x)); out(selective_scan(x) * silu(z)),
// with steps, B and C of the scan made of x. Tensors: ssm_in, ssm_conv1d, ssm_x, ssm_dt, ssm_a
// [inner, state_dim] = -e^A_log, ssm_d, ssm_out.
class Mamba final : public Body {
 public:
  explicit Mamba(const MambaSpec& spec) : spec_(spec) {}

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override { return in_.input_forms(); }
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace&, int) const override { return 0; }
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  struct Workspace {
    Rows<float> in;        // [rows, 2 * inner]: x and z
    Rows<float> x;         // [rows, inner] after the convolution
    Activations x_in;      // the same for the matrix that reads it
    Rows<float> low;       // [rows, step_rank + 2 * state_dim]: low-rank steps, B and C
    Activations low_in;    // [rows, step_rank]
    Rows<float> steps;     // [rows, inner]
    Rows<float> mixed;     // [rows, inner]
    Activations mixed_in;  // the same for the output matrix
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;
  absl::Status load_norms(Weights& weights);

  MambaSpec spec_;
  Linear in_;
  ConvWeights conv_;
  Linear low_;    // [step_rank + 2 * state_dim, inner]
  Linear steps_;  // [inner, step_rank]
  std::optional<ops::Norm> step_norm_, b_norm_, c_norm_;
  std::span<const float> step_bias_;  // [inner]
  std::vector<float> rates_;          // [state_dim, inner]
  std::span<const float> skip_;       // [inner]
  Linear out_;
};

}  // namespace millrace
