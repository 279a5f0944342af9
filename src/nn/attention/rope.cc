#include "nn/attention/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "base/check.h"

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
  double low = pair_of_turns(rope, rope.scaling.beta_fast);
  double high = pair_of_turns(rope, rope.scaling.beta_slow);
  if (rope.scaling.whole_pairs) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(0.0, low);
  high = std::min<double>(rope.rotated - 1, high);
  const double ramp = (pair - low) / std::max(0.001, high - low);
  return 1 - std::clamp(ramp, 0.0, 1.0);
}

}  // namespace

double yarn_magnitude(double factor, double multiplier) {
  return factor <= 1 ? 1 : 1 + 0.1 * multiplier * std::log(factor);
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

int32_t RopeTable::add(const RopeSpec& spec) {
  const auto found = std::ranges::find(entries_, spec, &Entry::spec);
  const auto number = static_cast<int32_t>(found - entries_.begin());
  if (found == entries_.end()) entries_.push_back({.spec = spec, .factors = {}, .frequencies = {}});
  CHECK(entries_.size() <= kRopesMax, "{} ropes in a model", entries_.size());
  return number;
}

absl::Status RopeTable::load(Weights& weights) {
  for (Entry& entry : entries_) {
    if (entry.spec.factors.empty()) continue;
    ASSIGN_OR_RETURN(entry.factors, weights.vector({entry.spec.factors, entry.spec.rotated / 2}));
  }
  return absl::OkStatus();
}

absl::Status RopeTable::compute_frequencies() {
  for (Entry& entry : entries_) {
    const auto wrong =
        std::ranges::find_if(entry.factors, [](float factor) { return !(factor > 0); });
    if (wrong != entry.factors.end()) {
      return invalid_argument("the rope factors hold {}, but must be positive", *wrong);
    }
    entry.frequencies = rope_frequencies(entry.spec, entry.factors);
  }
  return absl::OkStatus();
}

ops::Rope RopeTable::rope(int64_t number) const {
  const Entry& entry = entries_[static_cast<size_t>(number)];
  return {.pairs = entry.spec.pairs,
          .rotated = entry.spec.rotated,
          .frequencies = entry.frequencies,
          .magnitude = static_cast<float>(entry.spec.magnitude)};
}

}  // namespace millrace
