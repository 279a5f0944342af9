#include "engine/inbox.h"

#include <iterator>
#include <utility>

namespace millrace {

absl::Status Inbox::post(std::vector<Arrival> arrivals) {
  {
    const std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(closed_);
    std::move(arrivals.begin(), arrivals.end(), std::back_inserter(incoming_.arrivals));
  }
  arrived_.notify_one();
  return absl::OkStatus();
}

void Inbox::cancel(RequestId id) {
  {
    const std::lock_guard lock(mutex_);
    incoming_.cancelled.push_back(id);
  }
  arrived_.notify_one();
}

void Inbox::close(absl::Status why) {
  const std::lock_guard lock(mutex_);
  closed_ = std::move(why);
}

void Inbox::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  arrived_.notify_one();
}

const Mail& Inbox::drain() {
  drained_.clear();
  const std::lock_guard lock(mutex_);
  std::swap(incoming_, drained_);
  return drained_;
}

bool Inbox::wait(bool idle) {
  std::unique_lock lock(mutex_);
  if (idle) arrived_.wait(lock, [&] { return stopped_ || !incoming_.empty(); });
  return !stopped_;
}

}  // namespace millrace
