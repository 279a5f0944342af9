#pragma once

namespace millrace {

// From here on, what ends the process because the machine has no memory or no thread left to give,
// or because it refuses a write, is one line and exit code 1, not an abort. Every other uncaught
// exception still aborts.
void end_plainly_when_exhausted();

}  // namespace millrace
