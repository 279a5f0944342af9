#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "nn/body.h"
#include "nn/expert_linear.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/workspace_layout.h"

namespace millrace {

struct Rwkv6Spec {
  int64_t width = 0;  // of the residual stream, and of all heads
  int64_t heads = 0;
  int64_t key_heads = 0;      // of keys and values, divides heads
  int64_t mix_rank = 0;       // of what a row adds to its shares; 0: nothing (Eagle)
  int64_t decay_rank = 0;     // of what a row adds to its decays; 0: nothing (Eagle)
  bool own_share = false;     // as ops::TokenShift has it
  bool joined_shares = true;  // in one tensor, or in one for each input
  bool receptance_bias = false;
  bool key_bias = false;
  bool value_bias = false;
  bool bonus = true;  // the state is read before the row is added, which counts by its bonus
  bool keys_by_loss = false;  // keys are times 1 - decay
  float scale = 1;            // of outputs
  NormSpec norm = {};         // of each head's output, each with its own weights
  ElementFunction gate = {.kind = ElementFunction::Kind::kActivation};  // silu

  KvSpec kv(DType cache) const;
  std::unique_ptr<Body> make(RopeTable& ropes) const;

  int64_t head_dim() const { return width / heads; }
  int64_t keys_width() const { return key_heads * head_dim(); }
};

// The time mixing of RWKV 5 and 6 (Peng et al. 2024, section 4): of rows mixed with the ones before
// them, in shares that in RWKV 6 depend on the row, receptance, key, value and gate; of each head a
// state S of [head_dim, head_dim], y = (S + (bonus k) v^T)^T r, S = decay S + k v^T, with a decay
// for each key, which in RWKV 6 depends on the row; output(norm(y) * silu(gate)).
class Rwkv6 final : public Body {
 public:
  explicit Rwkv6(const Rwkv6Spec& spec) : spec_(spec) {}

  absl::Status load(Weights& weights) override;
  ActivationForms input_forms() const override { return {.f32 = true}; }
  int64_t workspace_bytes(int64_t rows) const override;
  int64_t carried_bytes(const KvPlace&, int) const override { return 0; }
  void forward(Lane& lane, const BodyContext& context, const Activations& in, ops::Store store,
               Rows<float> out) const override;

 private:
  enum Input : uint8_t { kDecay, kKey, kValue, kReceptance, kGate };
  static constexpr size_t kInputs = 5;

  struct Workspace {
    Activations mix_in;      // [rows, width], where shares depend on the row, as what follows
    Rows<float> mix_low;     // [rows, kInputs * mix_rank]
    Activations mix_low_in;  // the same
    Rows<float> mix;         // [rows, kInputs * width]
    std::array<Activations, kInputs> inputs;  // [rows, width] each
    Rows<float> decay_low;                    // [rows, decay_rank], where decays depend on the row
    Activations decay_low_in;                 // the same
    Rows<float> decays;                       // [rows, width], or one row for all
    Rows<float> keys, values;                 // [rows, keys_width]
    Rows<float> all_keys, all_values;         // [rows, width]; the same where key_heads is heads
    Rows<float> receptances, gates, mixed;    // [rows, width]
    Activations mixed_in;                     // [rows, width]
  };
  bool has_mix() const { return spec_.mix_rank > 0; }
  bool has_decays() const { return spec_.decay_rank > 0; }
  bool shares_keys() const { return spec_.key_heads != spec_.heads; }
  absl::Status load_shares(Weights& weights);
  absl::Status load_decays(Weights& weights);
  absl::Status load_matrices(Weights& weights);
  Workspace lay_out(WorkspaceLayout& layout, int64_t rows) const;
  void mix(Lane& lane, const BodyContext& context, const Activations& in,
           const Workspace& work) const;
  void products(Lane& lane, const Ops& ops, const Workspace& work) const;
  void make_decays(Lane& lane, const Ops& ops, const Workspace& work) const;
  void spread_keys(Lane& lane, const Ops& ops, const Workspace& work) const;
  void scan(Lane& lane, const BodyContext& context, const Workspace& work) const;

  Rwkv6Spec spec_;
  std::span<const float> mix_shares_;  // [width]
  std::span<const float> shares_;      // [kInputs, width]; without mix_rank of all but kDecay
  Linear mix_low_;                     // [kInputs * mix_rank, width]
  ExpertLinear mix_;                   // [kInputs] of [width, mix_rank]
  Linear decay_low_, decay_;           // [decay_rank, width], [width, decay_rank]
  std::vector<float> fixed_decays_;    // [width]
  std::span<const float> bonus_;       // [heads, head_dim]
  std::vector<int32_t> key_columns_;   // [width], of each head's keys
  std::vector<float> ones_;            // [width]
  Linear key_, value_, receptance_, gate_, output_;
  std::optional<ops::Norm> norm_;
};

}  // namespace millrace
