#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "nn/embedding/layer_inputs.h"
#include "nn/layer.h"
#include "nn/linear.h"
#include "nn/residual/altup.h"
#include "nn/weight_stream.h"

namespace millrace {

struct Layer {
  std::vector<Stage> stages;
  std::optional<AltUp> altup;
  std::span<const float> output_scale;  // [1] or none
};

// A decoder as the forward pass sees it: embedding, layers, norm, head.
struct Network {
  int64_t width = 0;
  Linear embedding;  // [vocab, width]
  float embedding_scale = 1;
  std::optional<Linear> positions;  // [positions, width] learned, added to the embedding
  std::optional<ops::Norm> embedding_norm;
  std::optional<LayerInputs> layer_inputs;
  std::optional<AltUpEnds> altup;  // with it every layer has one
  std::vector<Layer> layers;
  std::optional<ops::Norm> output_norm;
  Linear head;            // [vocab, width]; may be the embedding
  int64_t head_rows = 0;  // the first ones, of which logits are computed
  float logit_scale = 1;
  float logit_softcap = 0;  // as AttentionSpec::softcap
  RopeTable ropes;

  // Of a row between embedding and head.
  int64_t residual_width() const { return altup ? altup->streams() * width : width; }
};

// One step as the layers need it.
struct ForwardInput {
  std::span<const TokenId> tokens;     // [rows]
  std::span<const int32_t> positions;  // [rows]
  std::span<const KvPlace> places;     // [bodies], in the order in which they run
};

// Rows that head() takes at most: as many as a matrix product takes together (kernels/q8.h), so
// that the weights are read as seldom as if it took all. Their logits are what bounds its memory.
inline constexpr int32_t kHeadRowsMax = 64;

// Bytes of working memory that forward() of up to so many rows, and head(), need; only large steps
// touch all of it.
int64_t forward_bytes(const Network& network, int64_t rows_max);
// Bytes of working memory that starts as zeros and is carried from step to step.
int64_t carried_bytes(const Network& network, std::span<const KvPlace> places, int lanes);

// Memory of a forward pass, aligned to 64 bytes, sized by the two functions above: a step allocates
// nothing. weights: the lane's own; null where all of them are in memory.
struct ForwardMemory {
  std::byte* step = nullptr;
  std::span<std::byte> carried;
  WeightCursor* weights = nullptr;
};

// The layers of every architecture: embed; the stages of each layer in order. Every lane calls it;
// it ends with a barrier. The residual behind the last layer, in `memory`: [rows,
// residual_width()].
Rows<const float> forward(Lane& lane, const Ops& ops, const Network& network,
                          const ForwardInput& input, const ForwardMemory& memory);

// Norm and head for `rows` of `hidden`, which is what forward() returned with this memory. Every
// lane calls it; it ends with a barrier. rows: 1 to kHeadRowsMax. The logits, in `memory` until the
// next call: [rows, head_rows]; a lane may call again while others still read them.
Rows<const float> head(Lane& lane, const Ops& ops, const Network& network, Rows<const float> hidden,
                       std::span<const int32_t> rows, const ForwardMemory& memory);

}  // namespace millrace
