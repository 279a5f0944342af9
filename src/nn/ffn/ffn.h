#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "nn/body.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/workspace_layout.h"

namespace millrace {

struct FfnSpec {
  int64_t width = 0;
  int64_t hidden = 0;
  ops::ActivationFunction function;
  bool gated = true;
  bool gate_bias = false;
  bool up_bias = false;
  bool down_bias = false;
  NormSpec hidden_norm = {};  // before the down matrix (BitNet)

  KvSpec kv(DType) const { return {}; }
  std::unique_ptr<Body> make(RopeTable& ropes) const;
};

// Feed-forward network, gated (GLU variants, Shazeer 2020): down(f(gate(x)) * up(x)), or not:
// down(f(up(x))).
class Ffn final : public Body {
 public:
  explicit Ffn(const FfnSpec& spec) : spec_(spec) {}

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override;
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace&, int) const override { return 0; }
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  struct Workspace {
    Activations hidden;  // [rows, hidden]
    Activations normed;  // the same where it is normed
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;

  FfnSpec spec_;
  Linear gate_, up_;  // [hidden, width]
  std::optional<ops::Norm> hidden_norm_;
  Linear down_;  // [width, hidden]
};

}  // namespace millrace
