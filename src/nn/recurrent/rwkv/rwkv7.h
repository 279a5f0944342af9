#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "nn/body.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/workspace_layout.h"

namespace millrace {

struct Rwkv7Spec {
  int64_t width = 0;  // of the residual stream, and of all heads
  int64_t heads = 0;
  int64_t decay_rank = 0;
  int64_t rate_rank = 0;   // of in-context learning rates
  int64_t value_rank = 0;  // of the share of the first layer's values; 0: this is the first layer
  int64_t gate_rank = 0;   // 0: no gates
  NormSpec norm = {};      // of each head's output, each with its own weights

  KvSpec kv(DType cache) const;
  std::unique_ptr<Body> make(RopeTable& ropes) const;

  int64_t head_dim() const { return width / heads; }
};

// RWKV 7's time mixing (Peng et al. 2025, section 4.1): of rows mixed with the ones before them,
// receptance r, key k, value v, and of low rank decays d, learning rates and gates; of each head a
// state S of [head_dim, head_dim], S = d S + b (S^T a)^T + k v^T with a and b of ops::DeltaInputs,
// y = S^T r; output((norm(y) + v sum(r bonus k)) * gate). Values are mixed with those of the first
// layer, which each row keeps until the step's end.
class Rwkv7 final : public Body {
 public:
  explicit Rwkv7(const Rwkv7Spec& spec) : spec_(spec) {}

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override { return {.f32 = true}; }
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace&, int) const override { return 0; }
  int64_t step_width() const override { return spec_.width; }
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  // In the order of the shares' tensor.
  enum Input : uint8_t { kReceptance, kDecay, kKey, kValue, kRate, kGate };
  static constexpr size_t kInputs = 6;

  // A product of low rank: up(function(down(x))).
  struct LowRank {
    int64_t rank = 0;  // 0: there is none
    ElementFunction function = {};
    Linear down, up;  // [rank, width], [width, rank]
  };
  struct LowRankWork {
    Rows<float> low;     // [rows, rank]
    Activations low_in;  // the same
    Rows<float> out;     // [rows, width]
  };
  struct Workspace {
    std::array<Activations, kInputs> inputs;  // [rows, width] each
    std::array<LowRankWork, kInputs> low;     // of decays, values, rates and gates
    Rows<float> receptances, keys, values;    // [rows, width]
    Rows<float> removals, mixed;              // [rows, width]
    Activations mixed_in;                     // [rows, width]
  };
  bool is_first() const { return spec_.value_rank == 0; }
  size_t inputs() const { return spec_.gate_rank > 0 ? kInputs : kInputs - 1; }
  absl::Status load_low_rank(Weights& weights, Input input, std::string_view letter,
                             ElementFunction::Kind function, bool biased);
  ActivationForms forms_of(Input input) const;
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;
  void products(Lane& lane, const Ops& ops, const Workspace& work, Rows<float> values) const;
  void finish_low_ranks(Lane& lane, const Ops& ops, const Workspace& work) const;
  void scan(Lane& lane, const BodyContext& context, const Workspace& work,
            Rows<float> values) const;

  Rwkv7Spec spec_;
  std::span<const float> shares_;         // [inputs(), width]
  std::array<LowRank, kInputs> low_;      // of decays, values, rates and gates
  std::span<const float> removal_scale_;  // [width]
  std::span<const float> key_mix_;        // [width]
  std::span<const float> bonus_;          // [width]
  Linear receptance_, key_, value_, output_;
  std::optional<ops::Norm> norm_;
};

}  // namespace millrace
