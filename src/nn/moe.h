#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "nn/body.h"
#include "nn/expert_linear.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/workspace_layout.h"

namespace millrace {

// A mixture of experts (Shazeer et al. 2017): a router chooses for each row some of many
// feed-forward networks; the output is the sum of theirs, weighted, best first. A shared expert
// works for every row.
struct MoeSpec {
  // Where router, experts and shared expert norm the stream each for itself, and what the last two
  // make is normed before it meets (Gemma 4). The branch has no norm before its body then.
  struct PartNormsSpec {
    float router_epsilon = 0;  // its weight is one of the router's, over the root of the width
    NormSpec experts, after_experts, shared, after_shared;
  };
  int64_t width = 0;
  int64_t hidden = 0;  // of an expert
  int64_t experts = 0;
  ops::Routing routing = {};  // its selection bias is found at loading
  bool selection_bias = false;
  bool router_bias = false;
  bool gated = true;           // all of its networks
  bool biases = false;         // of the experts' matrices
  bool weighs_inputs = false;  // the router's weights are on the experts' inputs, not the outputs
  ops::ActivationFunction function = {};
  int64_t shared_hidden = 0;   // 0: no shared expert
  bool shared_gate = false;    // a sigmoid of the input weighs the shared expert
  bool expert_scales = false;  // each expert's output is times a number of its own
  std::optional<PartNormsSpec> part_norms = std::nullopt;

  KvSpec kv(DType) const { return {}; }
  std::unique_ptr<Body> make(RopeTable& ropes) const;
};

class Moe final : public Body {
 public:
  explicit Moe(const MoeSpec& spec) : spec_(spec) {}

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override;
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace&, int) const override { return 0; }
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  struct PartNorms {
    std::vector<float> router_weight;
    ops::Norm router, experts, after_experts, shared, after_shared;
  };
  // What each part reads, [rows, width].
  struct Inputs {
    Activations router, experts, shared;
  };
  struct Workspace {
    Inputs normed;               // without rows where parts norm nothing
    Rows<float> logits, choice;  // [rows, experts]
    ops::Dispatch dispatch;
    Activations gathered;       // [places, width]; without rows where there is one row
    Activations hidden;         // [places, hidden]
    Rows<float> outputs;        // [places, width]
    Activations shared_hidden;  // [rows, shared hidden]
    Rows<float> shared;         // [rows, width]
    Rows<float> shared_gates;   // [rows, 1]
    Rows<float> sum;            // [rows, width] of experts; without rows where parts norm nothing
  };
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;
  absl::Status load_shared(Weights& weights);
  absl::Status load_norms(Weights& weights);
  ActivationForms expert_forms() const;  // of the experts' inputs
  ActivationForms shared_forms() const;
  void norm_inputs(Lane& lane, const Ops& ops, const Activations& in, const Inputs& out) const;
  void combine_normed(Lane& lane, const Ops& ops, const Workspace& work, ops::Store store,
                      Rows<float> out) const;

  MoeSpec spec_;
  ops::Routing routing_;
  std::optional<PartNorms> norms_;
  Linear router_;                   // [experts, width]
  ExpertLinear gate_, up_;          // [hidden, width]
  ExpertLinear down_;               // [width, hidden]
  Linear shared_gate_, shared_up_;  // [shared hidden, width]
  Linear shared_down_;              // [width, shared hidden]
  Linear shared_weight_;            // [1, width]
};

}  // namespace millrace
