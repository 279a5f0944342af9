#include "models/network.h"

#include "models/weights_plan.h"

namespace millrace {
namespace {

absl::Status load_norm_or_none(const NormSpec& spec, int64_t width, Weights& weights,
                               std::optional<ops::Norm>& norm) {
  if (!spec) return absl::OkStatus();
  ASSIGN_OR_RETURN(norm, load_norm(spec, width, weights));
  return absl::OkStatus();
}

absl::Status load_embedding(const ModelSpec& spec, Weights& weights, Network& network) {
  RETURN_IF_ERROR(network.embedding.load(weights, {"token_embd", spec.vocab_size, spec.width},
                                         InputForm::kCompact));
  network.embedding_scale = spec.embedding_scale;
  if (spec.learned_positions > 0) {
    RETURN_IF_ERROR(network.positions.emplace().load(
        weights, {"position_embd", spec.learned_positions, spec.width}, InputForm::kCompact));
  }
  return load_norm_or_none(spec.embedding_norm, spec.width, weights, network.embedding_norm);
}

absl::Status load_head(const ModelSpec& spec, Weights& weights, Network& network) {
  const MatrixOrder order = {"output", spec.vocab_size, spec.width};
  const VectorOrder bias = {"output.bias", spec.vocab_size};
  const std::span<const VectorOrder> biases(&bias, spec.head_bias ? 1 : 0);
  // Rounding errors here would show in the log-probabilities as they are.
  if (spec.tied_embeddings) {
    RETURN_IF_ERROR(network.head.load_tied(network.embedding, weights, InputForm::kExact, biases));
  } else {
    RETURN_IF_ERROR(network.head.load(weights, {&order, 1}, InputForm::kExact, biases));
  }
  network.head_rows = spec.vocab_size;
  network.logit_scale = spec.logit_scale;
  network.logit_softcap = spec.logit_softcap;
  return load_norm_or_none(spec.output_norm, spec.width, weights, network.output_norm);
}

absl::Status load_layer_inputs(const ModelSpec& spec, Weights& weights, Network& network) {
  if (spec.layer_inputs.width == 0) return absl::OkStatus();
  return network.layer_inputs.emplace().load(spec.layer_inputs, spec.vocab_size, spec.width,
                                             weights);
}

absl::Status load_layer(const ModelSpec& model, const LayerSpec& spec, Weights& weights,
                        Network& network) {
  Layer& layer = network.layers.emplace_back();
  if (model.altup) {
    RETURN_IF_ERROR(layer.altup.emplace().load(*model.altup, model.width, weights));
  }
  for (const StageSpec& stage : spec.stages) {
    layer.stages.emplace_back(stage, model.width, network.ropes);
    RETURN_IF_ERROR(layer.stages.back().load(weights));
  }
  if (spec.output_scale) {
    ASSIGN_OR_RETURN(layer.output_scale, weights.vector({"layer_output_scale.weight", 1}));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status load_network(const ModelSpec& spec, WeightsOfLayer weights_of, Network& network) {
  network.width = spec.width;
  const std::unique_ptr<Weights> ends = weights_of(kNoLayer);
  RETURN_IF_ERROR(load_embedding(spec, *ends, network));
  RETURN_IF_ERROR(load_head(spec, *ends, network));
  RETURN_IF_ERROR(load_layer_inputs(spec, *ends, network));
  if (spec.altup) {
    RETURN_IF_ERROR(network.altup.emplace().load(*spec.altup, spec.width, *ends));
  }
  int32_t number = 0;
  for (const LayerSpec& layer : spec.layers) {
    RETURN_IF_ERROR(load_layer(spec, layer, *weights_of(number++), network));
  }
  return network.ropes.load(*ends);
}

}  // namespace millrace
