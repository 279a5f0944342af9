#pragma once

namespace millrace {

// While it lives, Ctrl-C (SIGINT) sets a flag instead of ending the program. One at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  // Whether Ctrl-C was pressed since the last call.
  bool take();
};

}  // namespace millrace
