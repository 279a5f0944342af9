#pragma once

#include <cstdint>
#include <memory>

#include "nn/body.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/workspace_layout.h"

namespace millrace {

// The low-rank form of a learned augmented residual layer (LAuReL-LR, Menghani et al. 2024), which
// stands beside attention (Gemma 3n): x + norm(right(left(x))).
struct LaurelSpec {
  int64_t width = 0;
  int64_t rank = 0;
  NormSpec norm;

  KvSpec kv(DType) const { return {}; }
  std::unique_ptr<Body> make(RopeTable& ropes) const;
};

class Laurel final : public Body {
 public:
  explicit Laurel(const LaurelSpec& spec) : spec_(spec) {}

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override;
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace&, int) const override { return 0; }
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  struct Workspace {
    Rows<float> low;     // [rows, rank]
    Activations low_in;  // the same in the form that the right matrix reads
    Rows<float> made;    // [rows, width]
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;

  LaurelSpec spec_;
  Linear left_;   // [rank, width]
  Linear right_;  // [width, rank]
  ops::Norm norm_;
};

}  // namespace millrace
