#pragma once

#include "base/status.h"
#include "files/checkpoint.h"

namespace millrace {

// UNIMPLEMENTED, saying what it is, for a file that holds something else than one whole model of an
// architecture that Millrace runs.
absl::Status check_is_model(const Checkpoint& checkpoint);

}  // namespace millrace
