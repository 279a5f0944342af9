#include "models/spec.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "models/arch/arch.h"
#include "models/model_kind.h"
#include "models/weights_plan.h"

namespace millrace {
namespace {

// YaRN, section 3.2, equation 17: the pair whose wavelength fits `turns` times into the original
// context.
double pair_of_turns(const RopeSpec& rope, double turns) {
  return rope.rotated * std::log(rope.scaling.original_context / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(rope.base));
}

// Fast pairs keep their frequency, slow ones are interpolated, those between are mixed.
double yarn_share_kept(const RopeSpec& rope, int32_t pair) {
  const double low = std::max(0.0, std::floor(pair_of_turns(rope, rope.scaling.beta_fast)));
  const double high =
      std::min<double>(rope.rotated - 1, std::ceil(pair_of_turns(rope, rope.scaling.beta_slow)));
  const double ramp = (pair - low) / std::max(0.001, high - low);
  return 1 - std::clamp(ramp, 0.0, 1.0);
}

}  // namespace

absl::StatusOr<ModelSpec> read_spec(const Checkpoint& checkpoint) {
  RETURN_IF_ERROR(check_is_model(checkpoint));
  ASSIGN_OR_RETURN(ArchReader reader, ArchReader::create(checkpoint));
  const auto arch = std::ranges::find(all_archs(), reader.architecture(), &Arch::name);
  ASSIGN_OR_RETURN(ModelSpec spec, arch->read(reader));
  RETURN_IF_ERROR(reader.check_all_read());
  RETURN_IF_ERROR(plan_weights(checkpoint, spec).status());
  return spec;
}

int64_t kv_token_bytes(const ModelSpec& spec, DType cache) {
  int64_t bytes = 0;
  for (const LayerSpec& layer : spec.layers) {
    for (const SublayerBody& body : layer.sublayers) {
      if (const auto* attention = std::get_if<AttentionSpec>(&body)) {
        bytes += kv_spec(*attention, cache).token_bytes;
      }
    }
  }
  return bytes;
}

std::vector<float> rope_frequencies(const RopeSpec& rope, std::span<const float> factors) {
  std::vector<float> frequencies;
  for (int32_t pair = 0; pair < rope.rotated / 2; ++pair) {
    double frequency = std::pow(rope.base, -2.0 * pair / rope.rotated);
    if (!factors.empty()) frequency /= factors[static_cast<size_t>(pair)];
    const double kept =
        rope.scaling.kind == RopeScaling::Kind::kYarn ? yarn_share_kept(rope, pair) : 0;
    frequency *= kept + (1 - kept) / rope.scaling.factor;
    frequencies.push_back(static_cast<float>(frequency));
  }
  return frequencies;
}

float rope_magnitude(const RopeScaling& scaling) {
  if (scaling.kind != RopeScaling::Kind::kYarn) return 1;
  return static_cast<float>(scaling.attention_factor * (1 + 0.1 * std::log(scaling.factor)));
}

}  // namespace millrace
