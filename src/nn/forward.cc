#include "nn/forward.h"

#include <algorithm>

#include "kernels/gather.h"
#include "kernels/ops.h"
#include "nn/scratch.h"

namespace millrace {
namespace {

struct StepMemory {
  Rows<float> residual;  // [rows, width]
  Rows<float> angles;    // [rows, rotated]
  Rows<float> wanted;    // [wants, width] of the residual stream after the last layer
  Activations head_in;   // [wants, width]
  Rows<float> logits;    // [wants, vocab]
  std::byte* sublayers;  // one after the other uses it
};

StepMemory place(const Network& network, int64_t rows, int64_t wants, Scratch& scratch) {
  return {.residual = scratch.rows(rows, network.width),
          .angles = scratch.rows(rows, network.rope.rotated),
          .wanted = scratch.rows(wants, network.width),
          .head_in = scratch.activations(network.head_forms, wants, network.width),
          .logits = scratch.rows(wants, network.vocab_size),
          .sublayers = scratch.rest()};
}

}  // namespace

int64_t forward_bytes(const Network& network, int64_t rows_max, int64_t wants_max) {
  Scratch scratch(nullptr);
  place(network, rows_max, wants_max, scratch);
  int64_t sublayers = 0;
  for (const auto& sublayer : network.sublayers) {
    sublayers = std::max(sublayers, sublayer->scratch_bytes(rows_max));
  }
  return scratch.bytes() + sublayers;
}

int64_t carried_bytes(const Network& network, std::span<const KvPlace> places, int lanes) {
  int64_t bytes = 0;
  for (size_t i = 0; i < network.sublayers.size(); ++i) {
    bytes = std::max(bytes, network.sublayers[i]->carried_bytes(places[i], lanes));
  }
  return bytes;
}

Rows<const float> forward(Lane& lane, const Kernels& kernels, const Network& network,
                          const ForwardInput& input, const ForwardMemory& memory) {
  Scratch scratch(memory.step);
  const StepMemory step =
      place(network, std::ssize(input.tokens), std::ssize(input.wants), scratch);
  ops::embed(lane, kernels, network.embedding, input.tokens, step.residual);
  ops::rope_angles(lane, network.rope, input.positions, step.angles);
  lane.barrier();
  for (size_t i = 0; i < network.sublayers.size(); ++i) {
    network.sublayers[i]->forward(lane, {.kernels = kernels,
                                         .residual = step.residual,
                                         .rope_pairs = network.rope.pairs,
                                         .rope_angles = step.angles,
                                         .place = input.places[i],
                                         .scratch = step.sublayers,
                                         .carried = memory.carried});
  }
  if (input.wants.empty()) return step.logits;
  ops::gather(lane, step.residual, input.wants, step.wanted);
  lane.barrier();
  ops::rms_norm(lane, kernels, step.wanted, network.output_norm, network.norm_epsilon,
                step.head_in);
  lane.barrier();
  ops::linear(lane, kernels, network.head, step.head_in, {}, ops::Store::kSet, step.logits);
  lane.barrier();
  return step.logits;
}

}  // namespace millrace
