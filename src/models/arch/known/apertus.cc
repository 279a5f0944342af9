#include <cmath>

#include "models/arch/arch.h"

namespace millrace {
namespace {

double softplus(double x) { return std::log1p(std::exp(x)); }

// xIELU's parameters of each layer, as they were trained (Huang and Schlag 2024, section 3).
absl::Status adjust_apertus(ArchReader& keys, ModelSpec& model) {
  const int64_t layers = std::ssize(model.layers);
  ASSIGN_OR_RETURN(const auto positive, keys.bare_numbers("xielu.alpha_p", layers));
  ASSIGN_OR_RETURN(const auto negative, keys.bare_numbers("xielu.alpha_n", layers));
  ASSIGN_OR_RETURN(const auto beta, keys.bare_numbers("xielu.beta", layers));
  ASSIGN_OR_RETURN(const auto epsilon, keys.bare_numbers("xielu.eps", layers));
  size_t layer = 0;
  for_each<FfnSpec>(model, [&](FfnSpec& ffn) {
    ffn.function.positive = static_cast<float>(softplus(positive[layer]));
    ffn.function.negative = static_cast<float>(softplus(negative[layer]));
    ffn.function.beta = static_cast<float>(beta[layer]);
    ffn.function.epsilon = static_cast<float>(epsilon[layer]);
    ++layer;
  });
  return absl::OkStatus();
}

}  // namespace

// Apertus (Swiss AI Initiative 2025): a Llama with norms of heads and xIELU without a gate.
std::span<const Arch> apertus_archs() {
  static constexpr Arch kArchs[] = {
      {.name = "apertus",
       .models = "Apertus 8B, 70B",
       .traits = {.function = ops::ActivationFunction::Kind::kXielu},
       .adjust = adjust_apertus},
  };
  return kArchs;
}

}  // namespace millrace
