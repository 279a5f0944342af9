#pragma once

#include <cstdint>
#include <span>

#include "base/ids.h"
#include "base/system/lanes.h"
#include "kernels/activations.h"
#include "kernels/isa.h"
#include "quant/packed_matrix.h"
#include "tensor/view.h"

// The operations of a forward pass except attention (kernels/attention_ops.h). Every lane calls an
// op with the same arguments; the lane does the pieces that it claims (base/system/lanes.h) and
// does not wait: where one op reads what another wrote, the caller puts a barrier between. Results
// do not depend, bit for bit, on the number of lanes, on which lane did what, or on the other rows
// (ARCHITECTURE.md): each output element is one accumulator with k ascending.

namespace millrace::ops {

// out[i] = row tokens[i] of `table` as float32. table: [vocab, width]; out: [tokens, width].
void embed(Lane& lane, const Kernels& kernels, const PackedMatrix& table,
           std::span<const TokenId> tokens, Rows<float> out);

// out[i] = row indices[i] of `in`. in: [rows, width]; out: [indices, width].
void gather(Lane& lane, Rows<const float> in, std::span<const int32_t> indices, Rows<float> out);

// RMSNorm (Zhang and Sennrich 2019): out = in / sqrt(mean(in^2) + epsilon) * weight, in every form
// `out` has. in: [rows, width].
void rms_norm(Lane& lane, const Kernels& kernels, Rows<const float> in,
              std::span<const float> weight, float epsilon, const Activations& out);

// Brings float32 rows into the forms of `out`.
void convert(Lane& lane, const Kernels& kernels, Rows<const float> in, const Activations& out);

enum class Store { kSet, kAdd };

// out (or out +=) = in * weights^T + bias. weights: [out_width, width]; in: [rows, width]; bias:
// [out_width] or empty; out: [rows, out_width]. kAdd is the residual connection.
void linear(Lane& lane, const Kernels& kernels, const PackedMatrix& weights, const Activations& in,
            std::span<const float> bias, Store store, Rows<float> out);

// SwiGLU (Shazeer 2020): out = silu(in * gate^T) * (in * up^T), in every form `out` has. gate, up:
// [hidden, width].
void gate_up(Lane& lane, const Kernels& kernels, const PackedMatrix& gate, const PackedMatrix& up,
             const Activations& in, const Activations& out);

}  // namespace millrace::ops
