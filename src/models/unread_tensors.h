#pragma once

#include <string_view>

#include "base/status.h"
#include "models/spec.h"

namespace millrace {

// UNIMPLEMENTED: the file holds this tensor and the spec does not use it. Says what it is for,
// where that is known.
absl::Status refuse_tensor(std::string_view name, const ModelSpec& spec);

}  // namespace millrace
