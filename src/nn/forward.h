#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/ids.h"
#include "nn/linear.h"
#include "nn/sublayer.h"
#include "tensor/buffer.h"

namespace millrace {

// A decoder as the forward pass sees it: embedding, sublayers, norm, head.
struct Network {
  int64_t width = 0;
  int64_t vocab_size = 0;
  float norm_epsilon = 0;
  PackedMatrix embedding;  // [vocab, width]
  std::vector<std::unique_ptr<Sublayer>> sublayers;
  std::span<const float> output_norm;  // [width]
  PackedMatrix head;                   // [vocab, width]; may be the embedding
  ActivationForms head_forms;
  ops::Rope rope;
  std::vector<float> rope_frequencies;  // [rope.rotated / 2]
};

// One step as the layers need it.
struct ForwardInput {
  std::span<const TokenId> tokens;     // [rows]
  std::span<const int32_t> positions;  // [rows]
  std::span<const int32_t> wants;      // rows whose logits are needed
  std::span<const KvPlace> places;     // [sublayers]
};

// Bytes of working memory that a step of up to so many rows needs; only large steps touch all of
// it.
int64_t forward_bytes(const Network& network, int64_t rows_max, int64_t wants_max);
// Bytes of working memory that starts as zeros and is carried from step to step.
int64_t carried_bytes(const Network& network, std::span<const KvPlace> places, int lanes);

// Memory of a forward pass, aligned to 64 bytes, sized by the two functions above: a step allocates
// nothing.
struct ForwardMemory {
  std::byte* step = nullptr;
  std::span<std::byte> carried;
};

// The forward pass, for every architecture: embed; the sublayers in order; norm and head for the
// wanted rows. Every lane calls it; it ends with a barrier. The logits lie in `memory`, in the
// order of input.wants: [wants, vocab].
Rows<const float> forward(Lane& lane, const Kernels& kernels, const Network& network,
                          const ForwardInput& input, const ForwardMemory& memory);

}  // namespace millrace
