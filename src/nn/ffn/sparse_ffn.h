#pragma once

#include <cstdint>
#include <memory>

#include "nn/body.h"
#include "nn/linear.h"
#include "nn/workspace_layout.h"

namespace millrace {

// A gated feed-forward network of which about a share of each row's gates is let through: those
// above their mean plus so many standard deviations, less that cutoff (the statistical top-k of the
// Spark Transformer, You et al. 2025, as Gemma 3n has it): down(function(max(0, gate - cutoff)) *
// up). If the gates are normal, the share is 1 - Phi(deviations).
struct SparseFfnSpec {
  int64_t width = 0;
  int64_t hidden = 0;
  ops::ActivationFunction function;  // of one number
  float deviations = 0;

  KvSpec kv(DType) const { return {}; }
  std::unique_ptr<Body> make(RopeTable& ropes) const;
};

class SparseFfn final : public Body {
 public:
  explicit SparseFfn(const SparseFfnSpec& spec) : spec_(spec) {}

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override;
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace&, int) const override { return 0; }
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  struct Workspace {
    Rows<float> gates;   // [rows, hidden]
    Rows<float> ups;     // the same
    Activations hidden;  // their product in the form that the down matrix reads
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;

  SparseFfnSpec spec_;
  Linear gate_, up_;  // [hidden, width]
  Linear down_;       // [width, hidden]
};

}  // namespace millrace
