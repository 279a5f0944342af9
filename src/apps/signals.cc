#include "apps/signals.h"

#include <csignal>
#include <cstdlib>
#include <pthread.h>
#include <unistd.h>
#include <utility>

#include "base/check.h"

namespace millrace {
namespace {

// What the destructor sends to the listener.
constexpr int kWakeUp = SIGUSR1;

sigset_t watched() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, kWakeUp);
  return set;
}

}  // namespace

Signals::Signals() {
  const sigset_t set = watched();
  CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0, "pthread_sigmask");
  listener_ = std::thread([this] { listen(); });
}

Signals::~Signals() {
  stop_ = true;
  pthread_kill(listener_.native_handle(), kWakeUp);
  listener_.join();
}

void Signals::listen() {
  const sigset_t set = watched();
  while (true) {
    int signal = 0;
    sigwait(&set, &signal);
    if (stop_) return;
    if (signal == kWakeUp) continue;
    const std::lock_guard lock(mutex_);
    if (!armed_) end(0);
    if (received_) end(1);
    received_ = true;
    changed_.notify_all();
  }
}

void Signals::arm() {
  const std::lock_guard lock(mutex_);
  armed_ = true;
}

void Signals::remove_at_sudden_end(std::string path) {
  const std::lock_guard lock(mutex_);
  leftover_ = std::move(path);
}

void Signals::end(int exit_code) const {
  if (!leftover_.empty()) unlink(leftover_.c_str());
  std::_Exit(exit_code);
}

void Signals::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return received_; });
}

}  // namespace millrace
