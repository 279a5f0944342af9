#include "models/network.h"

#include <utility>
#include <variant>

namespace millrace {
namespace {

std::unique_ptr<Sublayer> make_sublayer(const AttentionSpec& spec) {
  return std::make_unique<Attention>(spec);
}
std::unique_ptr<Sublayer> make_sublayer(const FfnSpec& spec) { return std::make_unique<Ffn>(spec); }

absl::StatusOr<std::span<const float>> load_ends(const ModelSpec& spec, Weights& weights,
                                                 Network& network) {
  ASSIGN_OR_RETURN(network.embedding,
                   weights.matrix({Role::kTokenEmbedding, spec.vocab_size, spec.width}));
  network.head = network.embedding;
  if (!spec.tied_embeddings) {
    ASSIGN_OR_RETURN(network.head, weights.matrix({Role::kOutput, spec.vocab_size, spec.width}));
  }
  // The head's rounding errors would show in the log-probabilities as they are.
  network.head_forms = weights.input_forms(network.head.format(), InputForm::kExact);
  ASSIGN_OR_RETURN(network.output_norm, weights.vector(Role::kOutputNorm, spec.width));
  if (!spec.rope.has_factors) return std::span<const float>();
  return weights.vector(Role::kRopeFactors, spec.rope.rotated / 2);
}

}  // namespace

absl::StatusOr<std::span<const float>> load_network(const ModelSpec& spec,
                                                    WeightsOfLayer weights_of, Network& network) {
  network.width = spec.width;
  network.vocab_size = spec.vocab_size;
  network.norm_epsilon = spec.norm_epsilon;
  ASSIGN_OR_RETURN(const std::span<const float> rope_factors,
                   load_ends(spec, *weights_of(0), network));
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    const std::unique_ptr<Weights> weights = weights_of(static_cast<int32_t>(layer));
    network.layer_begins.push_back(network.sublayers.size());
    for (const SublayerBody& body : spec.layers[layer].sublayers) {
      auto sublayer = std::visit([](const auto& s) { return make_sublayer(s); }, body);
      RETURN_IF_ERROR(sublayer->load(*weights));
      network.sublayers.push_back(std::move(sublayer));
    }
  }
  return rope_factors;
}

}  // namespace millrace
