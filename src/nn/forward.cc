#include "nn/forward.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/ops.h"
#include "nn/workspace_layout.h"

namespace millrace {
namespace {

struct StepMemory {
  Rows<float> residual;  // [rows, width]
  Rows<float> angles;    // [rows, rotated]
  std::byte* rest;       // the sublayers use it one after the other, then the head
};

StepMemory place_step(const Network& network, int64_t rows, WorkspaceLayout& layout) {
  return {.residual = layout.rows(rows, network.width),
          .angles = layout.rows(rows, network.rope.rotated),
          .rest = layout.rest()};
}

struct HeadMemory {
  Rows<float> hidden;  // [rows, width]
  Activations normed;  // [rows, width]
  Rows<float> logits;  // [rows, vocab]
};

HeadMemory place_head(const Network& network, int64_t rows, WorkspaceLayout& layout) {
  return {.hidden = layout.rows(rows, network.width),
          .normed = layout.activations(network.head_forms, rows, network.width),
          .logits = layout.rows(rows, network.vocab_size)};
}

}  // namespace

int64_t forward_bytes(const Network& network, int64_t rows_max) {
  WorkspaceLayout head(nullptr);
  place_head(network, std::min<int64_t>(rows_max, kHeadRowsMax), head);
  int64_t rest = head.bytes();
  for (const auto& sublayer : network.sublayers) {
    rest = std::max(rest, sublayer->workspace_bytes(rows_max));
  }
  WorkspaceLayout step(nullptr);
  place_step(network, rows_max, step);
  return step.bytes() + rest;
}

int64_t carried_bytes(const Network& network, std::span<const KvPlace> places, int lanes) {
  int64_t bytes = 0;
  for (size_t i = 0; i < network.sublayers.size(); ++i) {
    bytes = std::max(bytes, network.sublayers[i]->carried_bytes(places[i], lanes));
  }
  return bytes;
}

Rows<const float> forward(Lane& lane, const Ops& ops, const Network& network,
                          const ForwardInput& input, const ForwardMemory& memory) {
  WorkspaceLayout layout(memory.step);
  const StepMemory step = place_step(network, std::ssize(input.tokens), layout);
  if (memory.weights == nullptr) {
    ops.embed(lane, network.embedding, input.tokens, step.residual);
  } else {
    memory.weights->stream().embed(lane, ops, network.embedding, input.tokens, step.residual);
  }
  ops.rope_angles(lane, network.rope, input.positions, step.angles);
  ops.barrier(lane);
  for (size_t i = 0, layer = 0; i < network.sublayers.size(); ++i) {
    if (layer < network.layer_begins.size() && network.layer_begins[layer] == i) {
      ++layer;
      if (memory.weights != nullptr) memory.weights->enter_next();
    }
    network.sublayers[i]->forward(lane, {.ops = ops,
                                         .residual = step.residual,
                                         .rope_pairs = network.rope.pairs,
                                         .rope_angles = step.angles,
                                         .place = input.places[i],
                                         .workspace = step.rest,
                                         .carried = memory.carried});
  }
  return step.residual;
}

Rows<const float> head(Lane& lane, const Ops& ops, const Network& network, Rows<const float> hidden,
                       std::span<const int32_t> rows, const ForwardMemory& memory) {
  CHECK(!rows.empty() && std::ssize(rows) <= kHeadRowsMax, "{} rows for the head", rows.size());
  WorkspaceLayout layout(memory.step);
  WorkspaceLayout rest(place_step(network, hidden.rows, layout).rest);
  const HeadMemory work = place_head(network, std::ssize(rows), rest);
  ops.gather(lane, hidden, rows, work.hidden);
  ops.barrier(lane);
  ops.rms_norm(lane, work.hidden, network.output_norm, network.norm_epsilon, work.normed);
  ops.barrier(lane);
  const PackedMatrix& matrix = network.head;
  const int64_t rows_of_part =
      memory.weights ? memory.weights->stream().head_rows() : matrix.rows();
  for (int64_t row = 0; row < matrix.rows(); row += rows_of_part) {
    if (memory.weights != nullptr) memory.weights->enter_next();
    const int64_t count = std::min(rows_of_part, matrix.rows() - row);
    ops.linear(lane, matrix.part(row, count), work.normed, {}, ops::Store::kSet,
               {work.logits.data + row, work.logits.rows, count, work.logits.stride});
    ops.barrier(lane);
  }
  return work.logits;
}

}  // namespace millrace
