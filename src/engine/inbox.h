#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "core/generator.h"

namespace millrace {

struct Arrival {
  RequestId id;
  RequestId first;  // of those that were submitted with it
  std::shared_ptr<const Request> request;
  std::shared_ptr<TokenSink> sink;
  Instant arrived;
};

struct Mail {
  std::vector<Arrival> arrivals;
  std::vector<RequestId> cancelled;

  bool empty() const { return arrivals.empty() && cancelled.empty(); }
  void clear() {
    arrivals.clear();
    cancelled.clear();
  }
};

// Where other threads leave requests and cancellations for the engine's. The lock is held only to
// add or to swap.
class Inbox {
 public:
  // Takes all, or none and the status of close(), once closed.
  absl::Status post(std::vector<Arrival> arrivals);
  void cancel(RequestId id);
  // From now on nothing is taken; `why` is what post() returns. A later call replaces it.
  void close(absl::Status why);
  // wait() returns false from now on.
  void stop();

  // What has come since the last call; valid until the next. One thread only.
  const Mail& drain();
  // Sleeps until there is mail, if `idle`. False: stopped.
  bool wait(bool idle);

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  Mail incoming_;
  absl::Status closed_;
  bool stopped_ = false;
  Mail drained_;  // the engine thread's
};

}  // namespace millrace
