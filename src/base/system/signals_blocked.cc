#include "base/system/signals_blocked.h"

#include <pthread.h>

#include "base/check.h"

namespace millrace {

SignalsBlocked::SignalsBlocked() {
  sigset_t all;
  sigfillset(&all);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS}) {
    sigdelset(&all, fault);
  }
  CHECK(pthread_sigmask(SIG_BLOCK, &all, &before_) == 0, "pthread_sigmask");
}

SignalsBlocked::~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

}  // namespace millrace
