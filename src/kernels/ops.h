#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/ids.h"
#include "base/system/lanes.h"
#include "kernels/activations.h"
#include "kernels/attention_ops.h"
#include "kernels/isa.h"
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

  // RMSNorm (Zhang and Sennrich 2019): out = in / sqrt(mean(in^2) + epsilon) * weight, in every
  // form `out` has. in: [rows, width].
  virtual void rms_norm(Lane& lane, Rows<const float> in, std::span<const float> weight,
                        float epsilon, const Activations& out) const = 0;

  // Brings float32 rows into the forms of `out`.
  virtual void convert(Lane& lane, Rows<const float> in, const Activations& out) const = 0;

  // out (or out +=) = in * weights^T + bias. weights: [out_width, width]; in: [rows, width]; bias:
  // [out_width] or empty; out: [rows, out_width]. kAdd is the residual connection.
  virtual void linear(Lane& lane, const PackedMatrix& weights, const Activations& in,
                      std::span<const float> bias, Store store, Rows<float> out) const = 0;

  // SwiGLU (Shazeer 2020): out = silu(in * gate^T) * (in * up^T), in every form `out` has. gate,
  // up: [hidden, width].
  virtual void gate_up(Lane& lane, const PackedMatrix& gate, const PackedMatrix& up,
                       const Activations& in, const Activations& out) const = 0;

  // The rotations of a batch's rows, once a step for all layers that share `rope`. angles: [rows,
  // rotated], the cosines of the pairs and then their sines, both times the magnitude.
  virtual void rope_angles(Lane& lane, const Rope& rope, std::span<const int32_t> positions,
                           Rows<float> angles) const = 0;

  // Norms and rotates the queries in place and the keys on their way into the cache; stores keys
  // and values at their slots, rounded to the cache's type. angles: what rope_angles() made;
  // queries: [rows, query_heads * head_dim]; keys, values: [rows, heads * head_dim].
  virtual void rope_and_store(Lane& lane, const AttentionRows& rows, Rope::Pairs pairs,
                              Rows<const float> angles, const HeadNorm& norm, Rows<float> queries,
                              Rows<const float> keys, Rows<const float> values,
                              const KvLayer& cache) const = 0;

  // Attention by online softmax (Milakov and Gimelshein 2018; Dao et al. 2022): tiles of 32 keys
  // anchored at position 0, splits of 512 keys merged in ascending order, whatever the blocks. Keys
  // outside a row's ranges count as zero with V read as zero; a tile that a row does not read is
  // skipped.
  // memory: aligned to 64 bytes, zero when first used, then the ops' own; one serves every layer,
  // with a barrier between two calls. out: [rows, query_heads * head_dim].
  virtual void attention(Lane& lane, const AttentionRows& rows, const AttentionShape& shape,
                         Rows<const float> queries, const KvLayer& cache,
                         std::span<std::byte> memory, Rows<float> out) const = 0;
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
  void rms_norm(Lane& lane, Rows<const float> in, std::span<const float> weight, float epsilon,
                const Activations& out) const override;
  void convert(Lane& lane, Rows<const float> in, const Activations& out) const override;
  void linear(Lane& lane, const PackedMatrix& weights, const Activations& in,
              std::span<const float> bias, Store store, Rows<float> out) const override;
  void gate_up(Lane& lane, const PackedMatrix& gate, const PackedMatrix& up, const Activations& in,
               const Activations& out) const override;
  void rope_angles(Lane& lane, const Rope& rope, std::span<const int32_t> positions,
                   Rows<float> angles) const override;
  void rope_and_store(Lane& lane, const AttentionRows& rows, Rope::Pairs pairs,
                      Rows<const float> angles, const HeadNorm& norm, Rows<float> queries,
                      Rows<const float> keys, Rows<const float> values,
                      const KvLayer& cache) const override;
  void attention(Lane& lane, const AttentionRows& rows, const AttentionShape& shape,
                 Rows<const float> queries, const KvLayer& cache, std::span<std::byte> memory,
                 Rows<float> out) const override;

 private:
  const Kernels& kernels_;
};

}  // namespace millrace::ops

namespace millrace {

using ops::CpuOps;
using ops::Ops;

}  // namespace millrace
