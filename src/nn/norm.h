#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "kernels/ops.h"
#include "nn/weights.h"

namespace millrace {

// A norm that an architecture puts somewhere, or none.
struct NormSpec {
  enum class Kind : uint8_t { kNone, kRms, kLayer };
  Kind kind = Kind::kNone;
  std::string_view name;  // of its tensors, NAME.weight and NAME.bias
  float epsilon = 0;
  bool has_weight = true;
  bool has_bias = false;

  explicit operator bool() const { return kind != Kind::kNone; }
  bool operator==(const NormSpec&) const = default;
};

// The norm with its weights, of `width` elements for each of `heads`. spec: of a norm that there
// is.
absl::StatusOr<ops::Norm> load_norm(const NormSpec& spec, int64_t width, Weights& weights,
                                    int64_t heads = 1);

}  // namespace millrace
