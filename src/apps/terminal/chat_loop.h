#pragma once

#include "apps/commands/run.h"
#include "apps/serving/served.h"
#include "base/status.h"

namespace millrace {

// Talks until the end of input. A person gets a prompt, hints and timings; a pipe gives one message
// a line and gets only answers.
absl::Status chat_loop(const Served& served, const RunOptions& options);

}  // namespace millrace
