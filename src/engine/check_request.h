#pragma once

#include "base/status.h"
#include "core/generator.h"

namespace millrace {

// Whether the served model could ever run this request. OUT_OF_RANGE where it does not fit the
// context, INVALID_ARGUMENT for everything else.
absl::Status check_request(const Request& request, const ModelCard& card);

}  // namespace millrace
