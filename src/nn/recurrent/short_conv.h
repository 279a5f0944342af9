#pragma once

#include <cstdint>
#include <memory>

#include "nn/body.h"
#include "nn/linear.h"
#include "nn/recurrent/conv_weights.h"
#include "nn/workspace_layout.h"

namespace millrace {

struct ShortConvSpec {
  int64_t width = 0;  // of the residual stream
  int64_t conv_kernel = 0;
  bool biases = false;  // of both matrices and the convolution

  KvSpec kv(DType cache) const;
  std::unique_ptr<Body> make(RopeTable& ropes) const;
};

// Gated short convolution (LFM2; Liquid AI 2025): b, c, x = in(input); out(c * conv(b * x)).
// Tensors: shortconv.in_proj, shortconv.conv, shortconv.out_proj.
class ShortConv final : public Body {
 public:
  explicit ShortConv(const ShortConvSpec& spec) : spec_(spec) {}

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override { return in_.input_forms(); }
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace&, int) const override { return 0; }
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  struct Workspace {
    Rows<float> in;        // [rows, 3 * width]: b, c and x
    Rows<float> mixed;     // [rows, width]
    Activations mixed_in;  // the same for the output matrix
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;

  ShortConvSpec spec_;
  Linear in_;
  ConvWeights conv_;
  Linear out_;
};

}  // namespace millrace
