#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "kernels/ops.h"
#include "tensor/dtype.h"

namespace millrace {

// An op as it is called again and again: its name, what it is called with, and how large that is.
struct OpSubject {
  std::string_view op;         // the name of the method of Ops
  DType format = DType::kF32;  // of the weights, or of the cache
  ActivationForms in;          // forms of the activations that a product finds
  int64_t rows = 0;
  int64_t width = 0;    // of a row that it reads
  int64_t outputs = 0;  // of a row that it writes

  bool operator==(const OpSubject& other) const = default;
};

// What the calls of one subject took, all of them together.
struct OpTotal {
  OpSubject subject;
  int64_t calls = 0;
  absl::Duration time;    // of all lanes together
  double bytes = 0;       // of weights, or of keys and values, read once each
  double operations = 0;  // of products and attention; a multiply-add is two
};

// All that lanes did since the last clear(). Times are those of all lanes together.
struct Recording {
  std::vector<OpTotal> ops;  // in the order of their first calls
  int64_t barriers = 0;
  absl::Duration waits;    // from a lane's arrival at a barrier to the last one's
  absl::Duration barrier;  // from then until each lane went on
};

// Passes every op on to another table and notes its shape and time, lane by lane.
class Recorder final : public Ops {
 public:
  // `ops` and `clock` outlive the recorder.
  Recorder(const Ops& ops, int lanes, const Clock& clock);
  ~Recorder() override;

  // Between steps, while no lane is in an op.
  Recording recording() const;
  void clear();

  void barrier(Lane& lane) const override;
  void embed(Lane& lane, const PackedMatrix& table, std::span<const TokenId> tokens,
             Rows<float> out) const override;
  void gather(Lane& lane, Rows<const float> in, std::span<const int32_t> indices,
              Rows<float> out) const override;
  void add_rows(Lane& lane, const PackedMatrix& table, std::span<const int32_t> indices,
                Rows<float> out) const override;
  void scale(Lane& lane, Rows<float> rows, float factor, float softcap) const override;
  void norm(Lane& lane, Rows<const float> in, const ops::Norm& norm,
            const Activations& out) const override;
  void norm_in_place(Lane& lane, Rows<float> rows, const ops::Norm& norm) const override;
  void add(Lane& lane, Rows<const float> in, const ops::Norm* post_norm, float scale,
           Rows<float> out) const override;
  void convert(Lane& lane, Rows<const float> in, const Activations& out) const override;
  void linear(Lane& lane, const PackedMatrix& weights, const Activations& in,
              std::span<const float> bias, ops::Store store, Rows<float> out) const override;
  void head_linear(Lane& lane, const ops::ExpertMatrix& weights, const Activations& in,
                   int64_t in_step, int64_t out_step, Rows<float> out) const override;
  void hidden(Lane& lane, const ops::Hidden& hidden, const Activations& in,
              const Activations& out) const override;
  void keep_largest(Lane& lane, float deviations, Rows<float> rows) const override;
  void match_magnitude(Lane& lane, Rows<const float> like, float least,
                       Rows<float> parts) const override;
  void predict_streams(Lane& lane, const ops::StreamUpdate& update, Rows<const float> modes,
                       Rows<float> streams, Rows<float> active) const override;
  void correct_streams(Lane& lane, const ops::StreamUpdate& update, Rows<const float> modes,
                       Rows<const float> predicted, Rows<float> streams) const override;
  void rope_angles(Lane& lane, const ops::Rope& rope, std::span<const int32_t> positions,
                   Rows<float> angles) const override;
  void rope_and_store(Lane& lane, const ops::AttentionRows& rows, const ops::Rotation& rotation,
                      Rows<float> queries, Rows<const float> keys, Rows<const float> values,
                      const KvLayer& cache) const override;
  void attention(Lane& lane, const ops::AttentionRows& rows, const ops::AttentionShape& shape,
                 Rows<const float> queries, const KvLayer& cache, std::span<std::byte> memory,
                 Rows<float> out) const override;
  void route(Lane& lane, const ops::Routing& routing, Rows<float> logits, Rows<float> choice,
             const ops::Dispatch& out) const override;
  void dispatch(Lane& lane, const ops::Dispatch& dispatch) const override;
  void gather_dispatched(Lane& lane, const Activations& in, const ops::Dispatch& dispatch,
                         const Activations& out) const override;
  void expert_hidden(Lane& lane, const ops::ExpertHidden& hidden, const Activations& in,
                     const ops::Dispatch& dispatch, const Activations& out) const override;
  void expert_linear(Lane& lane, const ops::ExpertMatrix& weights, const Activations& in,
                     std::span<const float> bias, const ops::Dispatch& dispatch,
                     Rows<float> out) const override;
  void combine(Lane& lane, const ops::Dispatch& dispatch, const ops::Combination& combination,
               Rows<float> outputs, ops::Store store, Rows<float> out) const override;
  void token_shift(Lane& lane, const ops::StateRows& rows, const ops::StateLayer& states,
                   const ops::TokenShift& shift, Rows<const float> in,
                   std::span<const Activations> outs) const override;
  void wkv4(Lane& lane, const ops::StateRows& rows, const ops::StateLayer& states,
            const ops::Wkv4& wkv, Rows<const float> keys, Rows<const float> values,
            Rows<float> out) const override;
  void rg_lru(Lane& lane, const ops::StateRows& rows, const ops::StateLayer& states,
              const ops::RgLru& unit, Rows<const float> in, Rows<const float> input_gates,
              Rows<const float> recurrence_gates, Rows<float> out) const override;
  void delta_inputs(Lane& lane, const ops::DeltaInputs& inputs,
                    const ops::DeltaRows& rows) const override;
  void add_head_bonus(Lane& lane, const ops::HeadBonus& bonus, Rows<const float> queries,
                      Rows<const float> keys, Rows<const float> values,
                      Rows<float> out) const override;
  void causal_conv(Lane& lane, const ops::StateRows& rows, const ops::StateLayer& states,
                   const ops::CausalConv& conv, Rows<const float> in,
                   Rows<float> out) const override;
  void gate(Lane& lane, Rows<const float> in, const ElementFunction& function,
            Rows<const float> gates, Rows<float> out) const override;
  void gather_columns(Lane& lane, Rows<const float> in, std::span<const int32_t> columns,
                      Rows<float> out) const override;
  void norm_heads(Lane& lane, Rows<float> rows, int64_t heads,
                  const ops::Norm& norm) const override;
  void rotate(Lane& lane, const ops::Rotation& rotation, int64_t head_dim,
              Rows<float> rows) const override;
  void time_steps(Lane& lane, const ops::TimeSteps& time_steps, Rows<const float> in,
                  Rows<float> steps, Rows<float> decays) const override;
  void matrix_scan(Lane& lane, const ops::StateRows& rows, const ops::StateLayer& states,
                   const ops::MatrixScan& scan, const ops::MatrixScanRows& in,
                   Rows<float> out) const override;
  void selective_scan(Lane& lane, const ops::StateRows& rows, const ops::StateLayer& states,
                      const ops::SelectiveScan& scan, const ops::SelectiveScanRows& in,
                      Rows<float> out) const override;

 private:
  struct LaneNotes;
  template <typename Op>
  void note(Lane& lane, const OpSubject& subject, double bytes, double operations,
            const Op& op) const;

  const Ops& ops_;
  const Clock& clock_;
  std::vector<std::unique_ptr<LaneNotes>> lanes_;
};

}  // namespace millrace
