#include "models/load.h"

#include <algorithm>
#include <cmath>

#include "models/network.h"
#include "models/tensor_packer.h"
#include "models/weights_plan.h"

namespace millrace {
namespace {

absl::Status set_rope(const RopeSpec& spec, std::span<const float> factors, Network& network) {
  const auto wrong = std::ranges::find_if(factors, [](float factor) { return !(factor > 0); });
  if (wrong != factors.end()) {
    return invalid_argument("the rope factors hold {}, but must be positive", *wrong);
  }
  network.rope_frequencies = rope_frequencies(spec, factors);
  network.rope = {.pairs = spec.pairs,
                  .rotated = spec.rotated,
                  .frequencies = network.rope_frequencies,
                  .magnitude = rope_magnitude(spec.scaling)};
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> load_model(const Checkpoint& checkpoint,
                                                  const LoadOptions& options, LanePool& lanes) {
  ASSIGN_OR_RETURN(ModelSpec spec, read_spec(checkpoint));
  ASSIGN_OR_RETURN(const WeightsPlan plan, plan_weights(checkpoint, spec));
  ASSIGN_OR_RETURN(TensorPacker packer, TensorPacker::create(checkpoint, plan, options, lanes));
  Network network;
  ASSIGN_OR_RETURN(const std::span<const float> rope_factors,
                   load_network(
                       spec,
                       [&](int32_t layer) {
                         return std::make_unique<LayerWeights>(packer, spec.tensor_name, layer);
                       },
                       network));
  RETURN_IF_ERROR(set_rope(spec.rope, rope_factors, network));
  return std::make_unique<Model>(std::move(spec), std::move(network), packer.take_memory());
}

}  // namespace millrace
