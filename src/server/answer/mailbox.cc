#include "server/answer/mailbox.h"

#include <utility>

namespace millrace {

bool Mailbox::put(int32_t prompt, std::span<const TokenEvent> events) {
  const std::lock_guard lock(mutex_);
  if (closed_ || overflowed_) return false;
  // One call may bring much, as a prompt's log-probabilities are; only what it finds counts.
  overflowed_ = bytes_ > bytes_max_;
  if (overflowed_) return false;
  for (size_t i = 0; i < events.size(); ++i) {
    const TokenEvent& event = events[i];
    bytes_ += static_cast<int64_t>(sizeof(Delivery) + event.top.size() * sizeof(TokenLogprob));
    const bool more = i + 1 < events.size() && events[i + 1].choice == event.choice;
    deliveries_.push_back({.prompt = prompt, .token = event, .more = more, .finish = {}});
  }
  notify();
  return true;
}

void Mailbox::put(int32_t prompt, const FinishEvent& finish) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  deliveries_.push_back({.prompt = prompt, .token = {}, .finish = finish});
  notify();
}

bool Mailbox::take(std::vector<Delivery>& out) {
  out.clear();
  const std::lock_guard lock(mutex_);
  out.swap(deliveries_);
  bytes_ = 0;
  notified_ = false;
  return !out.empty();
}

void Mailbox::watch(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
  if (!deliveries_.empty()) notify();
}

void Mailbox::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  wake_ = nullptr;
  deliveries_.clear();
}

bool Mailbox::overflowed() const {
  const std::lock_guard lock(mutex_);
  return overflowed_;
}

void Mailbox::notify() {
  if (notified_ || !wake_) return;
  notified_ = true;
  wake_();
}

}  // namespace millrace
