#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include <absl/functional/function_ref.h>

#include "base/status.h"
#include "models/spec.h"
#include "nn/forward.h"
#include "nn/weights.h"

namespace millrace {

using WeightsOfLayer = absl::FunctionRef<std::unique_ptr<Weights>(int32_t layer)>;

// Orders every weight of the spec, first those outside the layers (from layer 0's weights), and
// makes the network of them but for its rope, whose factors it returns: empty where there are none.
// The order is always the same.
absl::StatusOr<std::span<const float>> load_network(const ModelSpec& spec,
                                                    WeightsOfLayer weights_of, Network& network);

}  // namespace millrace
