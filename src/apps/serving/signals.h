#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "base/system/file_id.h"

namespace millrace {

// SIGINT, SIGTERM and SIGHUP as events for a server. Made before any other thread, so that every
// thread inherits the blocked mask. Before arm() a signal ends the process at once with code 0, as
// there is nothing to finish; after it the first one lets wait() return and a second one ends the
// process at once with code 1. The reader of its output may leave: SIGPIPE is ignored.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  void arm();
  // A file that is there now and that the process must not leave behind; empty: none.
  void remove_at_sudden_end(std::string path);
  // Returns after the first signal.
  void wait();

 private:
  void listen();
  bool was_received() const { return received_ != std::chrono::steady_clock::time_point(); }
  [[noreturn]] void end(int exit_code) const;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string leftover_;
  FileId leftover_id_;
  bool armed_ = false;
  std::chrono::steady_clock::time_point received_;  // the first one, or the epoch
  std::atomic<bool> stop_ = false;
  std::thread listener_;
};

}  // namespace millrace
