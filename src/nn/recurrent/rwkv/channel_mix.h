#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "nn/body.h"
#include "nn/linear.h"
#include "nn/workspace_layout.h"

namespace millrace {

struct ChannelMixSpec {
  int64_t width = 0;
  int64_t hidden = 0;
  bool gated = true;       // by a receptance (RWKV 4 to 6)
  bool own_share = false;  // as ops::TokenShift has it

  KvSpec kv(DType cache) const;
  std::unique_ptr<Body> make(RopeTable& ropes) const;
};

// RWKV's channel mixing (Peng et al. 2023, section 3.1): of rows mixed with the ones before them,
// value(max(key(x), 0)^2), times sigmoid(receptance(x)).
class ChannelMix final : public Body {
 public:
  explicit ChannelMix(const ChannelMixSpec& spec) : spec_(spec) {}

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override { return {.f32 = true}; }
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace&, int) const override { return 0; }
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  struct Workspace {
    Activations key_in;         // [rows, width]
    Activations hidden;         // [rows, hidden]
    Activations receptance_in;  // [rows, width], of a gated one, as what follows
    Rows<float> receptances;    // [rows, width]
    Rows<float> values;         // [rows, width]
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;
  void gate(Lane& lane, const Ops& ops, const Workspace& work, ops::Store store,
            Rows<float> out) const;

  ChannelMixSpec spec_;
  std::span<const float> shares_;  // [1 or 2, width], of the key's input and the receptance's
  Linear key_, receptance_, value_;
};

}  // namespace millrace
