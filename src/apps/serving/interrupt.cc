#include "apps/serving/interrupt.h"

#include <csignal>

#include "base/check.h"

namespace millrace {
namespace {

volatile std::sig_atomic_t interrupted = 0;
struct sigaction action_before = {};

void on_interrupt(int) { interrupted = 1; }

}  // namespace

InterruptGuard::InterruptGuard() {
  struct sigaction action = {};
  action.sa_handler = on_interrupt;  // no SA_RESTART: a blocked read returns
  sigemptyset(&action.sa_mask);
  CHECK(sigaction(SIGINT, &action, &action_before) == 0, "sigaction");
  interrupted = 0;
}

InterruptGuard::~InterruptGuard() { sigaction(SIGINT, &action_before, nullptr); }

bool InterruptGuard::take() {
  const bool was = interrupted != 0;
  interrupted = 0;
  return was;
}

}  // namespace millrace
