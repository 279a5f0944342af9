#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/ids.h"
#include "base/system/lanes.h"
#include "kernels/activations.h"
#include "kernels/attention_ops.h"
#include "kernels/experts.h"
#include "kernels/isa.h"
#include "kernels/recurrent/recurrent_ops.h"
#include "kernels/recurrent/rwkv_ops.h"
#include "kernels/recurrent/state_rows.h"
#include "kernels/row_ops.h"
#include "quant/packed_matrix.h"
#include "tensor/view.h"

namespace millrace::ops {

enum class Store { kSet, kAdd };

// The operations of a forward pass, as a table that the pass carries. Every lane calls an op with
// the same arguments; the lane does the pieces that it claims (base/system/lanes.h) and does not
// wait: where one op reads what another wrote, the caller puts a barrier between. Results do not
// depend, bit for bit, on the number of lanes, on which lane did what, or on the other rows
// (ARCHITECTURE.md): each output element is one accumulator with k ascending.
class Ops {
 public:
  virtual ~Ops() = default;

  // What every piece before it wrote is visible after it.
  virtual void barrier(Lane& lane) const = 0;

  // out[i] = row tokens[i] of `table` as float32. table: [vocab, width]; out: [tokens, width].
  virtual void embed(Lane& lane, const PackedMatrix& table, std::span<const TokenId> tokens,
                     Rows<float> out) const = 0;

  // out[i] = row indices[i] of `in`. in: [rows, width]; out: [indices, width].
  virtual void gather(Lane& lane, Rows<const float> in, std::span<const int32_t> indices,
                      Rows<float> out) const = 0;

  // out[i] += row indices[i] of `table` as float32: learned positions. table: [rows, width]; out:
  // [indices, width].
  virtual void add_rows(Lane& lane, const PackedMatrix& table, std::span<const int32_t> indices,
                        Rows<float> out) const = 0;

  // rows = rows * factor, then, with a softcap above 0, softcap * tanh(rows / softcap).
  virtual void scale(Lane& lane, Rows<float> rows, float factor, float softcap) const = 0;

  // out = norm(in), in every form `out` has. in: [rows, width].
  virtual void norm(Lane& lane, Rows<const float> in, const Norm& norm,
                    const Activations& out) const = 0;

  // rows = norm(rows).
  virtual void norm_in_place(Lane& lane, Rows<float> rows, const Norm& norm) const = 0;

  // The residual connection of what was computed apart: out += scale * post_norm(in); null: no
  // norm. in, out: [rows, width].
  virtual void add(Lane& lane, Rows<const float> in, const Norm* post_norm, float scale,
                   Rows<float> out) const = 0;

  // Brings float32 rows into the forms of `out`.
  virtual void convert(Lane& lane, Rows<const float> in, const Activations& out) const = 0;

  // out (or out +=) = in * weights^T + bias. weights: [out_width, width]; in: [rows, width]; bias:
  // [out_width] or empty; out: [rows, out_width]. kAdd is the residual connection.
  virtual void linear(Lane& lane, const PackedMatrix& weights, const Activations& in,
                      std::span<const float> bias, Store store, Rows<float> out) const = 0;

  // As linear(), for each head with a matrix of its own: columns [head * in_step, head * in_step +
  // width) of `in` make those from head * out_step on of `out`, and the others of `out` stay. Where
  // a product reads `in` as q8 or q16, in_step is a multiple of 32; 0: all heads read the same.
  virtual void head_linear(Lane& lane, const ExpertMatrix& weights, const Activations& in,
                           int64_t in_step, int64_t out_step, Rows<float> out) const = 0;

  // A feed-forward network's hidden layer of in * gate^T + gate_bias and in * up^T + up_bias, in
  // every form `out` has. in: [rows, width]; out: [rows, hidden].
  virtual void hidden(Lane& lane, const Hidden& hidden, const Activations& in,
                      const Activations& out) const = 0;

  // Gates of a statistical top-k (nn/ffn/sparse_ffn.h): rows = max(0, rows - cutoff), each row's
  // cutoff its mean plus so many of its standard deviations.
  virtual void keep_largest(Lane& lane, float deviations, Rows<float> rows) const = 0;

  // parts = parts * rms(like) / rms(part), whose square counts as `least` at least, with the roots
  // of the mean squares of a row. like: [rows, width]; parts: [rows, any number * width].
  virtual void match_magnitude(Lane& lane, Rows<const float> like, float least,
                               Rows<float> parts) const = 0;

  // Alternating updates' prediction: streams[i] += the sum over j, ascending, of coefficient [i, j]
  // * streams[j] as they were. The active one is `active` too. modes: [rows, streams]; streams:
  // [rows, streams * width]; active: [rows, width].
  virtual void predict_streams(Lane& lane, const StreamUpdate& update, Rows<const float> modes,
                               Rows<float> streams, Rows<float> active) const = 0;

  // And its correction, by what the active stream has become since it was `predicted`: with d the
  // difference streams[i] += coefficient [i] * d, and but for the active one += d.
  virtual void correct_streams(Lane& lane, const StreamUpdate& update, Rows<const float> modes,
                               Rows<const float> predicted, Rows<float> streams) const = 0;

  // The rotations of a batch's rows, once a step for all layers that share `rope`. angles: [rows,
  // rotated], the cosines of the pairs and then their sines, both times the magnitude.
  virtual void rope_angles(Lane& lane, const Rope& rope, std::span<const int32_t> positions,
                           Rows<float> angles) const = 0;

  // Norms and rotates the queries in place and the keys on their way into the cache; stores keys
  // and values at their slots, rounded to the cache's type. queries: [rows, query_heads *
  // key_dim]; keys: [rows, heads * key_dim]; values: [rows, heads * value_dim], of width 0 where
  // keys are latents (tensor/kv_layer.h); both of width 0 where another layer stores them.
  virtual void rope_and_store(Lane& lane, const AttentionRows& rows, const Rotation& rotation,
                              Rows<float> queries, Rows<const float> keys, Rows<const float> values,
                              const KvLayer& cache) const = 0;

  // Attention by online softmax (Milakov and Gimelshein 2018; Dao et al. 2022): tiles of 32 keys
  // anchored at position 0, splits of 512 keys merged in ascending order, whatever the blocks. Keys
  // outside a row's ranges count as zero with V read as zero; a tile that a row does not read is
  // skipped.
  // memory: aligned to 64 bytes, zero when first used, then the ops' own; one serves every layer,
  // with a barrier between two calls. queries: [rows, query_heads * key_dim]; out: [rows,
  // query_heads * value_dim].
  virtual void attention(Lane& lane, const AttentionRows& rows, const AttentionShape& shape,
                         Rows<const float> queries, const KvLayer& cache,
                         std::span<std::byte> memory, Rows<float> out) const = 0;

  // Mixtures of experts (kernels/experts.h). First each row's experts and weights. logits: [rows,
  // experts], changed; choice: [rows, experts], memory.
  virtual void route(Lane& lane, const Routing& routing, Rows<float> logits, Rows<float> choice,
                     const Dispatch& out) const = 0;

  // Then the places, from the experts of all rows.
  virtual void dispatch(Lane& lane, const Dispatch& dispatch) const = 0;

  // The rows of `in` at their places, in every form `out` has, which are forms of `in`. out:
  // [places, width].
  virtual void gather_dispatched(Lane& lane, const Activations& in, const Dispatch& dispatch,
                                 const Activations& out) const = 0;

  // The hidden layers, place by place with its expert's matrices, in every form `out` has. in:
  // [places, width], or the only row, which all places have; out: [places, hidden]. Matrices of
  // experts without rows are not read.
  virtual void expert_hidden(Lane& lane, const ExpertHidden& hidden, const Activations& in,
                             const Dispatch& dispatch, const Activations& out) const = 0;

  // out = in * weights^T + bias, place by place. in: [places, hidden]; bias: [experts, width] or
  // empty; out: [places, width].
  virtual void expert_linear(Lane& lane, const ExpertMatrix& weights, const Activations& in,
                             std::span<const float> bias, const Dispatch& dispatch,
                             Rows<float> out) const = 0;

  // out (or out +=) = the sum of a row's experts, best first, and what a shared expert adds.
  // outputs: [places, width], changed; out: [rows, width].
  virtual void combine(Lane& lane, const Dispatch& dispatch, const Combination& combination,
                       Rows<float> outputs, Store store, Rows<float> out) const = 0;

  // Operations of RWKV and of the RG-LRU (kernels/recurrent/rwkv_ops.h). The state is the last row,
  // [width]. in: [rows, width]; outs: each [rows, width], in every form it has.
  virtual void token_shift(Lane& lane, const StateRows& rows, const StateLayer& states,
                           const TokenShift& shift, Rows<const float> in,
                           std::span<const Activations> outs) const = 0;

  // The state is Wkv4::kParts vectors, each from a multiple of 16 floats on. keys, values, out:
  // [rows, width].
  virtual void wkv4(Lane& lane, const StateRows& rows, const StateLayer& states, const Wkv4& wkv,
                    Rows<const float> keys, Rows<const float> values, Rows<float> out) const = 0;

  // The state is h. in, the gates and out: [rows, width].
  virtual void rg_lru(Lane& lane, const StateRows& rows, const StateLayer& states,
                      const RgLru& unit, Rows<const float> in, Rows<const float> input_gates,
                      Rows<const float> recurrence_gates, Rows<float> out) const = 0;

  virtual void delta_inputs(Lane& lane, const DeltaInputs& inputs, const DeltaRows& rows) const = 0;

  // All are [rows, width].
  virtual void add_head_bonus(Lane& lane, const HeadBonus& bonus, Rows<const float> queries,
                              Rows<const float> keys, Rows<const float> values,
                              Rows<float> out) const = 0;

  // Operations of recurrent units (kernels/recurrent/recurrent_ops.h). in, out: [rows, channels],
  // apart from each other.
  virtual void causal_conv(Lane& lane, const StateRows& rows, const StateLayer& states,
                           const CausalConv& conv, Rows<const float> in, Rows<float> out) const = 0;

  // out = in * function(gates), or function(gates) where `in` has no data; each gate is of width /
  // gates.width neighbours. in: [rows, width], may be `out`, as may be the gates.
  virtual void gate(Lane& lane, Rows<const float> in, const ElementFunction& function,
                    Rows<const float> gates, Rows<float> out) const = 0;

  // out[r][i] = in[r][columns[i]].
  virtual void gather_columns(Lane& lane, Rows<const float> in, std::span<const int32_t> columns,
                              Rows<float> out) const = 0;

  // rows = norm of each of `heads` equal parts of a row. The norm's vectors are of a part, the same
  // for all, or of the whole row.
  virtual void norm_heads(Lane& lane, Rows<float> rows, int64_t heads, const Norm& norm) const = 0;

  // Rotates each head in place. rows: [rows, any number * head_dim]; rotation: without norms and
  // temperature.
  virtual void rotate(Lane& lane, const Rotation& rotation, int64_t head_dim,
                      Rows<float> rows) const = 0;

  // steps, decays: as wide as `in`, or without data where not wanted.
  virtual void time_steps(Lane& lane, const TimeSteps& time_steps, Rows<const float> in,
                          Rows<float> steps, Rows<float> decays) const = 0;

  // out: [rows, heads * value_dim].
  virtual void matrix_scan(Lane& lane, const StateRows& rows, const StateLayer& states,
                           const MatrixScan& scan, const MatrixScanRows& in,
                           Rows<float> out) const = 0;

  // out: [rows, channels].
  virtual void selective_scan(Lane& lane, const StateRows& rows, const StateLayer& states,
                              const SelectiveScan& scan, const SelectiveScanRows& in,
                              Rows<float> out) const = 0;
};

// The operations on one tier of this CPU's instruction sets (kernels/isa.h).
class CpuOps final : public Ops {
 public:
  explicit CpuOps(const Kernels& kernels) : kernels_(kernels) {}

  void barrier(Lane& lane) const override { lane.barrier(); }
  void embed(Lane& lane, const PackedMatrix& table, std::span<const TokenId> tokens,
             Rows<float> out) const override;
  void gather(Lane& lane, Rows<const float> in, std::span<const int32_t> indices,
              Rows<float> out) const override;
  void add_rows(Lane& lane, const PackedMatrix& table, std::span<const int32_t> indices,
                Rows<float> out) const override;
  void scale(Lane& lane, Rows<float> rows, float factor, float softcap) const override;
  void norm(Lane& lane, Rows<const float> in, const Norm& norm,
            const Activations& out) const override;
  void norm_in_place(Lane& lane, Rows<float> rows, const Norm& norm) const override;
  void add(Lane& lane, Rows<const float> in, const Norm* post_norm, float scale,
           Rows<float> out) const override;
  void convert(Lane& lane, Rows<const float> in, const Activations& out) const override;
  void linear(Lane& lane, const PackedMatrix& weights, const Activations& in,
              std::span<const float> bias, Store store, Rows<float> out) const override;
  void head_linear(Lane& lane, const ExpertMatrix& weights, const Activations& in, int64_t in_step,
                   int64_t out_step, Rows<float> out) const override;
  void hidden(Lane& lane, const Hidden& hidden, const Activations& in,
              const Activations& out) const override;
  void keep_largest(Lane& lane, float deviations, Rows<float> rows) const override;
  void match_magnitude(Lane& lane, Rows<const float> like, float least,
                       Rows<float> parts) const override;
  void predict_streams(Lane& lane, const StreamUpdate& update, Rows<const float> modes,
                       Rows<float> streams, Rows<float> active) const override;
  void correct_streams(Lane& lane, const StreamUpdate& update, Rows<const float> modes,
                       Rows<const float> predicted, Rows<float> streams) const override;
  void rope_angles(Lane& lane, const Rope& rope, std::span<const int32_t> positions,
                   Rows<float> angles) const override;
  void rope_and_store(Lane& lane, const AttentionRows& rows, const Rotation& rotation,
                      Rows<float> queries, Rows<const float> keys, Rows<const float> values,
                      const KvLayer& cache) const override;
  void attention(Lane& lane, const AttentionRows& rows, const AttentionShape& shape,
                 Rows<const float> queries, const KvLayer& cache, std::span<std::byte> memory,
                 Rows<float> out) const override;
  void route(Lane& lane, const Routing& routing, Rows<float> logits, Rows<float> choice,
             const Dispatch& out) const override;
  void dispatch(Lane& lane, const Dispatch& dispatch) const override;
  void gather_dispatched(Lane& lane, const Activations& in, const Dispatch& dispatch,
                         const Activations& out) const override;
  void expert_hidden(Lane& lane, const ExpertHidden& hidden, const Activations& in,
                     const Dispatch& dispatch, const Activations& out) const override;
  void expert_linear(Lane& lane, const ExpertMatrix& weights, const Activations& in,
                     std::span<const float> bias, const Dispatch& dispatch,
                     Rows<float> out) const override;
  void combine(Lane& lane, const Dispatch& dispatch, const Combination& combination,
               Rows<float> outputs, Store store, Rows<float> out) const override;
  void token_shift(Lane& lane, const StateRows& rows, const StateLayer& states,
                   const TokenShift& shift, Rows<const float> in,
                   std::span<const Activations> outs) const override;
  void wkv4(Lane& lane, const StateRows& rows, const StateLayer& states, const Wkv4& wkv,
            Rows<const float> keys, Rows<const float> values, Rows<float> out) const override;
  void rg_lru(Lane& lane, const StateRows& rows, const StateLayer& states, const RgLru& unit,
              Rows<const float> in, Rows<const float> input_gates,
              Rows<const float> recurrence_gates, Rows<float> out) const override;
  void delta_inputs(Lane& lane, const DeltaInputs& inputs, const DeltaRows& rows) const override;
  void add_head_bonus(Lane& lane, const HeadBonus& bonus, Rows<const float> queries,
                      Rows<const float> keys, Rows<const float> values,
                      Rows<float> out) const override;
  void causal_conv(Lane& lane, const StateRows& rows, const StateLayer& states,
                   const CausalConv& conv, Rows<const float> in, Rows<float> out) const override;
  void gate(Lane& lane, Rows<const float> in, const ElementFunction& function,
            Rows<const float> gates, Rows<float> out) const override;
  void gather_columns(Lane& lane, Rows<const float> in, std::span<const int32_t> columns,
                      Rows<float> out) const override;
  void norm_heads(Lane& lane, Rows<float> rows, int64_t heads, const Norm& norm) const override;
  void rotate(Lane& lane, const Rotation& rotation, int64_t head_dim,
              Rows<float> rows) const override;
  void time_steps(Lane& lane, const TimeSteps& time_steps, Rows<const float> in, Rows<float> steps,
                  Rows<float> decays) const override;
  void matrix_scan(Lane& lane, const StateRows& rows, const StateLayer& states,
                   const MatrixScan& scan, const MatrixScanRows& in,
                   Rows<float> out) const override;
  void selective_scan(Lane& lane, const StateRows& rows, const StateLayer& states,
                      const SelectiveScan& scan, const SelectiveScanRows& in,
                      Rows<float> out) const override;

 private:
  const Kernels& kernels_;
};

}  // namespace millrace::ops

namespace millrace {

using ops::CpuOps;
using ops::Ops;

}  // namespace millrace
