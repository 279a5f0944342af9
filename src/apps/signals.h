#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace millrace {

// SIGINT and SIGTERM as events for a server. Made before any other thread, so that every thread
// inherits the blocked mask. Before arm() a signal ends the process at once with code 0, as there
// is nothing to finish; after it the first one lets wait() return and a second one ends the process
// at once with code 1.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  void arm();
  // A file that the process must not leave behind; empty: none.
  void remove_at_sudden_end(std::string path);
  // Returns after the first signal.
  void wait();

 private:
  void listen();
  [[noreturn]] void end(int exit_code) const;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string leftover_;
  bool armed_ = false;
  bool received_ = false;
  std::atomic<bool> stop_ = false;
  std::thread listener_;
};

}  // namespace millrace
