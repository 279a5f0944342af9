#pragma once

#include <cstdint>
#include <memory>

#include <absl/functional/function_ref.h>

#include "base/status.h"
#include "models/spec.h"
#include "nn/forward.h"
#include "nn/weights.h"

namespace millrace {

using WeightsOfLayer = absl::FunctionRef<std::unique_ptr<Weights>(int32_t layer)>;

// Orders every weight of the spec, first those outside of the layers (of layer kNoLayer), and makes
// the network of them; its ropes have no frequencies yet. The order is always the same.
absl::Status load_network(const ModelSpec& spec, WeightsOfLayer weights_of, Network& network);

}  // namespace millrace
