#pragma once

#include <cstdint>
#include <span>

#include "nn/linear.h"
#include "nn/sublayer.h"
#include "nn/workspace_layout.h"

namespace millrace {

struct FfnSpec {
  int64_t width = 0;
  int64_t hidden = 0;
  float norm_epsilon = 0;
};

// SwiGLU feed-forward network (Shazeer 2020): down(silu(gate(x)) * up(x)).
class Ffn final : public Sublayer {
 public:
  explicit Ffn(const FfnSpec& spec) : spec_(spec) {}

  KvSpec kv(DType cache) const override;
  absl::Status load(Weights& weights) override;
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace& place, int lanes) const override;
  void forward(Lane& lane, const ForwardContext& context) const override;

 private:
  struct Workspace {
    Activations normed;  // [rows, width]
    Activations hidden;  // [rows, hidden]
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;

  FfnSpec spec_;
  std::span<const float> norm_;  // [width]
  PackedMatrix gate_, up_;       // [hidden, width]
  ActivationForms input_forms_;
  Linear down_;  // [width, hidden]
};

}  // namespace millrace
