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

// While it lives, Ctrl-C waits, and threads that are started never get it: it then reaches the
// thread that reads a line, whose read must return, and no other.
class InterruptShield {
 public:
  InterruptShield();
  ~InterruptShield();
  InterruptShield(const InterruptShield&) = delete;
  InterruptShield& operator=(const InterruptShield&) = delete;
};

}  // namespace millrace
