#pragma once

#include <csignal>

namespace millrace {

// While it lives, this thread takes no signals, and threads that it starts never do, so that a
// signal reaches a thread that is ready for it. Faults of the thread itself stay as they are.
class SignalsBlocked {
 public:
  SignalsBlocked();
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace millrace
