#include "apps/serving/signals.h"

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

// Two signals within it are one: `timeout` signals its child and then its whole group.
constexpr auto kOneSignal = std::chrono::milliseconds(100);

sigset_t watched() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, kWakeUp);
  return set;
}

}  // namespace

Signals::Signals() {
  const sigset_t set = watched();
  CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0, "pthread_sigmask");
  CHECK(std::signal(SIGPIPE, SIG_IGN) != SIG_ERR, "SIGPIPE");
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
    const auto now = std::chrono::steady_clock::now();
    if (was_received()) {
      if (now - received_ > kOneSignal) end(1);
      continue;
    }
    received_ = now;
    changed_.notify_all();
  }
}

void Signals::arm() {
  const std::lock_guard lock(mutex_);
  armed_ = true;
}

void Signals::remove_at_sudden_end(std::string path) {
  const std::lock_guard lock(mutex_);
  leftover_id_ = file_id(path);
  leftover_ = std::move(path);
}

void Signals::end(int exit_code) const {
  remove_file(leftover_, leftover_id_);
  std::_Exit(exit_code);
}

void Signals::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return was_received(); });
}

}  // namespace millrace
