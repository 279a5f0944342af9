#include "nn/forward.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "kernels/ops.h"
#include "nn/workspace_layout.h"

namespace millrace {
namespace {

struct StepMemory {
  Rows<float> residual;                       // [rows, residual_width()]
  Rows<float> aside;                          // [rows, width], of alternating updates
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
  StepMemory memory = {.residual = layout.rows(rows, network.residual_width()),
                       .aside = layout.rows(rows, network.altup ? network.width : 0),
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
  Rows<float> residual;  // [rows, residual_width()]
  Activations normed;    // [rows, width]
  Rows<float> logits;    // [rows, vocab]
  std::byte* rest;       // where streams end
};

HeadMemory place_head(const Network& network, int64_t rows, WorkspaceLayout& layout) {
  return {.residual = layout.rows(rows, network.residual_width()),
          .normed = layout.activations(network.head.input_forms(), rows, network.width),
          .logits = layout.rows(rows, network.head_rows),
          .rest = layout.rest()};
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

// places: of all bodies from this layer on; those of the next one on are left.
void run_layer(Lane& lane, const Layer& layer, const BodyContext& context,
               std::span<const KvPlace>& places, const StepMemory& step) {
  const auto run_stage = [&](const Stage& stage, Rows<float> stream) {
    const auto branches = static_cast<size_t>(stage.branches());
    stage.forward(lane, context, places.first(branches), stream);
    places = places.subspan(branches);
  };
  const Ops& ops = context.ops;
  if (layer.altup) {
    const AltUp& altup = *layer.altup;
    altup.predict(lane, ops, step.rest, step.residual, step.aside);
    for (const Stage& stage : std::span(layer.stages).first(layer.stages.size() - 1)) {
      run_stage(stage, altup.active_of(step.residual));
    }
    altup.correct(lane, ops, step.rest, step.residual, step.aside);
    run_stage(layer.stages.back(), step.aside);
    altup.spread(lane, ops, step.aside, step.residual);
  } else {
    for (const Stage& stage : layer.stages) run_stage(stage, step.residual);
  }
  if (layer.output_scale.empty()) return;
  ops.scale(lane, step.residual, layer.output_scale[0], 0);
  ops.barrier(lane);
}

}  // namespace

int64_t forward_bytes(const Network& network, int64_t rows_max) {
  WorkspaceLayout head(nullptr);
  const int64_t head_rows = std::min<int64_t>(rows_max, kHeadRowsMax);
  place_head(network, head_rows, head);
  int64_t rest = head.bytes();
  if (network.altup) {
    rest = std::max(rest + network.altup->workspace_bytes(head_rows),
                    network.altup->workspace_bytes(rows_max));
  }
  for (const Layer& layer : network.layers) {
    for (const Stage& stage : layer.stages) rest = std::max(rest, stage.workspace_bytes(rows_max));
    if (layer.altup) rest = std::max(rest, layer.altup->workspace_bytes(rows_max));
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
  const Rows<float> embedded = columns(step.residual, 0, network.width);
  embed(lane, ops, network, input, memory.weights, embedded);
  if (network.layer_inputs) {
    network.layer_inputs->forward(lane, ops, input.tokens, embedded, step.rest, step.layer_inputs);
  }
  if (network.altup) network.altup->begin(lane, ops, step.rest, step.residual);
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
    run_layer(lane, layer, context, places, step);
  }
  return step.residual;
}

Rows<const float> head(Lane& lane, const Ops& ops, const Network& network, Rows<const float> hidden,
                       std::span<const int32_t> rows, const ForwardMemory& memory) {
  CHECK(!rows.empty() && std::ssize(rows) <= kHeadRowsMax, "{} rows for the head", rows.size());
  WorkspaceLayout layout(memory.step);
  WorkspaceLayout rest(place_step(network, hidden.rows, layout).rest);
  const HeadMemory work = place_head(network, std::ssize(rows), rest);
  ops.gather(lane, hidden, rows, work.residual);
  ops.barrier(lane);
  if (network.altup) network.altup->end(lane, ops, work.rest, work.residual);
  const Rows<float> stream = columns(work.residual, 0, network.width);
  if (network.output_norm) {
    ops.norm(lane, stream, *network.output_norm, work.normed);
  } else {
    ops.convert(lane, stream, work.normed);
  }
  ops.barrier(lane);
  const int64_t rows_of_part =
      memory.weights ? memory.weights->stream().head_rows() : network.head_rows;
  for (int64_t row = 0; row < network.head_rows; row += rows_of_part) {
    if (memory.weights != nullptr) memory.weights->enter_next();
    const int64_t count = std::min(rows_of_part, network.head_rows - row);
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
