#include "nn/norm.h"

#include <string>

#include "base/check.h"

namespace millrace {

absl::StatusOr<ops::Norm> load_norm(const NormSpec& spec, int64_t width, Weights& weights,
                                    int64_t heads) {
  CHECK(spec, "a norm that there is none of");
  ops::Norm norm = {
      .kind = spec.kind == NormSpec::Kind::kRms ? ops::Norm::Kind::kRms : ops::Norm::Kind::kLayer,
      .epsilon = spec.epsilon};
  if (spec.has_weight) {
    ASSIGN_OR_RETURN(norm.weight,
                     weights.vector({fmt::format("{}.weight", spec.name), width, heads}));
  }
  if (spec.has_bias) {
    ASSIGN_OR_RETURN(norm.bias, weights.vector({fmt::format("{}.bias", spec.name), width, heads}));
  }
  return norm;
}

}  // namespace millrace
