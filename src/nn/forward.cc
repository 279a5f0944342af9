#include "nn/forward.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "kernels/ops.h"
#include "nn/workspace_layout.h"

namespace millrace {
namespace {

struct StepMemory {
  Rows<float> residual;                       // [rows, width]
  std::array<Rows<float>, kRopesMax> angles;  // [ropes] of [rows, rotated]
  Rows<float> layer_inputs;                   // [rows, layers * width] or none
  Rows<float> step_rows;                      // [rows, step_width_of(network)]
  std::byte* rest;  // the stages use it one after the other, then the head
};

int64_t step_width_of(const Network& network) {
  int64_t width = 0;
  for (const Layer& layer : network.layers) {
    for (const Stage& stage : layer.stages) width = std::max(width, stage.step_width());
  }
  return width;
}

StepMemory place_step(const Network& network, int64_t rows, WorkspaceLayout& layout) {
  StepMemory memory = {.residual = layout.rows(rows, network.width),
                       .angles = {},
                       .layer_inputs = {},
                       .step_rows = {},
                       .rest = nullptr};
  for (int64_t i = 0; i < network.ropes.size(); ++i) {
    memory.angles[static_cast<size_t>(i)] = layout.rows(rows, network.ropes.rope(i).rotated);
  }
  if (network.layer_inputs) {
    memory.layer_inputs = layout.rows(rows, network.layer_inputs->all_width());
  }
  memory.step_rows = layout.rows(rows, step_width_of(network));
  memory.rest = layout.rest();
  return memory;
}

struct HeadMemory {
  Rows<float> hidden;  // [rows, width]
  Activations normed;  // [rows, width]
  Rows<float> logits;  // [rows, vocab]
};

HeadMemory place_head(const Network& network, int64_t rows, WorkspaceLayout& layout) {
  return {.hidden = layout.rows(rows, network.width),
          .normed = layout.activations(network.head.input_forms(), rows, network.width),
          .logits = layout.rows(rows, network.vocab_size)};
}

void embed(Lane& lane, const Ops& ops, const Network& network, const ForwardInput& input,
           WeightCursor* weights, Rows<float> residual) {
  const PackedMatrix& table = network.embedding.matrix();
  if (weights == nullptr) {
    ops.embed(lane, table, input.tokens, residual);
  } else {
    weights->stream().embed(lane, ops, table, input.tokens, residual);
  }
  ops.barrier(lane);
  if (network.embedding_scale != 1) {
    ops.scale(lane, residual, network.embedding_scale, 0);
    ops.barrier(lane);
  }
  if (network.positions) {
    ops.add_rows(lane, network.positions->matrix(), input.positions, residual);
    ops.barrier(lane);
  }
  if (network.embedding_norm) {
    ops.norm_in_place(lane, residual, *network.embedding_norm);
    ops.barrier(lane);
  }
}

}  // namespace

int64_t forward_bytes(const Network& network, int64_t rows_max) {
  WorkspaceLayout head(nullptr);
  place_head(network, std::min<int64_t>(rows_max, kHeadRowsMax), head);
  int64_t rest = head.bytes();
  for (const Layer& layer : network.layers) {
    for (const Stage& stage : layer.stages) rest = std::max(rest, stage.workspace_bytes(rows_max));
  }
  if (network.layer_inputs) {
    rest = std::max(rest, network.layer_inputs->workspace_bytes(rows_max));
  }
  WorkspaceLayout step(nullptr);
  place_step(network, rows_max, step);
  return step.bytes() + rest;
}

int64_t carried_bytes(const Network& network, std::span<const KvPlace> places, int lanes) {
  int64_t bytes = 0;
  for (const Layer& layer : network.layers) {
    for (const Stage& stage : layer.stages) {
      const auto branches = static_cast<size_t>(stage.branches());
      bytes = std::max(bytes, stage.carried_bytes(places.first(branches), lanes));
      places = places.subspan(branches);
    }
  }
  return bytes;
}

Rows<const float> forward(Lane& lane, const Ops& ops, const Network& network,
                          const ForwardInput& input, const ForwardMemory& memory) {
  WorkspaceLayout layout(memory.step);
  const StepMemory step = place_step(network, std::ssize(input.tokens), layout);
  std::array<RopeAngles, kRopesMax> ropes;
  const auto rope_count = static_cast<size_t>(network.ropes.size());
  for (size_t i = 0; i < rope_count; ++i) {
    const ops::Rope rope = network.ropes.rope(static_cast<int64_t>(i));
    ops.rope_angles(lane, rope, input.positions, step.angles[i]);
    ropes[i] = {.pairs = rope.pairs, .angles = step.angles[i]};
  }
  embed(lane, ops, network, input, memory.weights, step.residual);
  if (network.layer_inputs) {
    network.layer_inputs->forward(lane, ops, input.tokens, step.residual, step.rest,
                                  step.layer_inputs);
  }
  const BodyContext context = {.ops = ops,
                               .ropes = std::span(ropes).first(rope_count),
                               .layer_inputs = step.layer_inputs,
                               .place = {},
                               .step_rows = step.step_rows,
                               .workspace = step.rest,
                               .carried = memory.carried};
  std::span<const KvPlace> places = input.places;
  for (const Layer& layer : network.layers) {
    if (memory.weights != nullptr) memory.weights->enter_next();
    for (const Stage& stage : layer.stages) {
      const auto branches = static_cast<size_t>(stage.branches());
      stage.forward(lane, context, places.first(branches), step.residual);
      places = places.subspan(branches);
    }
    if (!layer.output_scale.empty()) {
      ops.scale(lane, step.residual, layer.output_scale[0], 0);
      ops.barrier(lane);
    }
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
  if (network.output_norm) {
    ops.norm(lane, work.hidden, *network.output_norm, work.normed);
  } else {
    ops.convert(lane, work.hidden, work.normed);
  }
  ops.barrier(lane);
  const PackedMatrix& matrix = network.head.matrix();
  const int64_t rows_of_part =
      memory.weights ? memory.weights->stream().head_rows() : matrix.rows();
  for (int64_t row = 0; row < matrix.rows(); row += rows_of_part) {
    if (memory.weights != nullptr) memory.weights->enter_next();
    const int64_t count = std::min(rows_of_part, matrix.rows() - row);
    network.head.forward_rows(lane, ops, row, count, work.normed, work.logits);
    ops.barrier(lane);
  }
  if (network.logit_scale != 1 || network.logit_softcap != 0) {
    ops.scale(lane, work.logits, network.logit_scale, network.logit_softcap);
    ops.barrier(lane);
  }
  return work.logits;
}

}  // namespace millrace
