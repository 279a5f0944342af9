#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "nn/body.h"
#include "nn/expert_linear.h"
#include "nn/linear.h"
#include "nn/recurrent/conv_weights.h"
#include "nn/workspace_layout.h"

namespace millrace {

struct RgLruSpec {
  int64_t width = 0;  // of the residual stream
  int64_t inner = 0;  // of the recurrence
  int64_t heads = 0;  // blocks of the gates' matrices, divides inner
  int64_t conv_kernel = 0;
  ActivationFunction function = {.kind = ActivationFunction::Kind::kGeluTanh};

  KvSpec kv(DType cache) const;
  std::unique_ptr<Body> make(RopeTable& ropes) const;
};

// Griffin's recurrent block (De et al. 2024, section 2.3): out(rg_lru(conv(in(x))) *
// function(gate(x))), whose unit (ops::RgLru) has gates of block-diagonal matrices. Tensors:
// lru_in, lru_gate, lru_out, each with a bias, lru_conv1d, lru_input_gate and lru_recurrence_gate
// [heads, inner / heads, inner / heads] with biases [inner], lru_a [inner].
class RgLru final : public Body {
 public:
  explicit RgLru(const RgLruSpec& spec) : spec_(spec) {}

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override;
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace&, int) const override { return 0; }
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  struct Workspace {
    Rows<float> in, gates;                      // [rows, inner]
    Rows<float> conv;                           // [rows, inner]
    Activations conv_in;                        // the same
    Rows<float> input_gates, recurrence_gates;  // [rows, inner]
    Activations mixed_in;                       // [rows, inner]
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;

  RgLruSpec spec_;
  Linear in_, gate_, out_;
  ConvWeights conv_;
  ExpertLinear input_gate_, recurrence_gate_;  // [heads] of [inner / heads, inner / heads]
  std::vector<float> decay_;                   // [inner]
};

}  // namespace millrace
