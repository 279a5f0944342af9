#include "models/load.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "models/tensor_packer.h"

namespace millrace {
namespace {

std::unique_ptr<Sublayer> make_sublayer(const AttentionSpec& spec) {
  return std::make_unique<Attention>(spec);
}
std::unique_ptr<Sublayer> make_sublayer(const FfnSpec& spec) { return std::make_unique<Ffn>(spec); }

absl::Status load_rope(const RopeSpec& spec, Weights& weights, Network& network) {
  std::span<const float> factors;
  if (spec.has_factors) {
    ASSIGN_OR_RETURN(factors, weights.vector(Role::kRopeFactors, spec.rotated / 2));
    const auto wrong = std::ranges::find_if(factors, [](float f) { return !(f > 0); });
    if (wrong != factors.end()) {
      return invalid_argument("the rope factors hold {}, but must be positive", *wrong);
    }
  }
  network.rope_frequencies = rope_frequencies(spec, factors);
  network.rope = {.pairs = spec.pairs,
                  .rotated = spec.rotated,
                  .frequencies = network.rope_frequencies,
                  .magnitude = rope_magnitude(spec.scaling)};
  return absl::OkStatus();
}

absl::Status load_ends(const ModelSpec& spec, Weights& weights, Network& network) {
  ASSIGN_OR_RETURN(network.embedding,
                   weights.matrix({Role::kTokenEmbedding, spec.vocab_size, spec.width}));
  network.head = network.embedding;
  if (!spec.tied_embeddings) {
    ASSIGN_OR_RETURN(network.head, weights.matrix({Role::kOutput, spec.vocab_size, spec.width}));
  }
  // The head's rounding errors would show in the log-probabilities as they are.
  network.head_forms = {.f32 = true};
  ASSIGN_OR_RETURN(network.output_norm, weights.vector(Role::kOutputNorm, spec.width));
  return load_rope(spec.rope, weights, network);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> load_model(const Checkpoint& checkpoint,
                                                  const LoadOptions& options, LanePool& lanes) {
  ASSIGN_OR_RETURN(ModelSpec spec, read_spec(checkpoint));
  ASSIGN_OR_RETURN(TensorPacker packer, TensorPacker::create(checkpoint, options, lanes));
  Network network;
  network.width = spec.width;
  network.vocab_size = spec.vocab_size;
  network.norm_epsilon = spec.norm_epsilon;
  LayerWeights outer(packer, spec.tensor_name, 0);
  RETURN_IF_ERROR(load_ends(spec, outer, network));
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    LayerWeights weights(packer, spec.tensor_name, static_cast<int32_t>(layer));
    for (const SublayerBody& body : spec.layers[layer].sublayers) {
      auto sublayer = std::visit([](const auto& s) { return make_sublayer(s); }, body);
      RETURN_IF_ERROR(sublayer->load(weights));
      network.sublayers.push_back(std::move(sublayer));
    }
  }
  return std::make_unique<Model>(std::move(spec), std::move(network), packer.take_memory());
}

}  // namespace millrace
