#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "nn/body.h"
#include "nn/linear.h"
#include "nn/workspace_layout.h"

namespace millrace {

struct Rwkv4Spec {
  int64_t width = 0;  // of the residual stream
  int64_t inner = 0;  // channels of keys and values

  KvSpec kv(DType cache) const;
  std::unique_ptr<Body> make(RopeTable& ropes) const;
};

// RWKV 4's time mixing (Peng et al. 2023, section 3.1): of rows mixed with the ones before them,
// output(sigmoid(receptance(x)) * wkv), where wkv averages values by their keys and their age
// (ops::Wkv4).
class Rwkv4 final : public Body {
 public:
  explicit Rwkv4(const Rwkv4Spec& spec) : spec_(spec) {}

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override { return {.f32 = true}; }
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace&, int) const override { return 0; }
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  struct Workspace {
    Activations key_in, value_in, receptance_in;  // [rows, width]
    Rows<float> keys, values, receptances;        // [rows, inner]
    Activations mixed_in;                         // [rows, inner]
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;

  Rwkv4Spec spec_;
  std::span<const float> shares_;  // [3, width], of the inputs of keys, values and receptances
  std::vector<float> decay_;       // [inner]
  std::span<const float> bonus_;   // [inner]
  Linear key_, value_, receptance_, output_;
};

}  // namespace millrace
