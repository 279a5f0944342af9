#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "core/generator.h"

namespace millrace {

// What one request's sinks leave for the connection: a token, or the end of one prompt's work.
struct Delivery {
  int32_t prompt = 0;
  TokenEvent token;
  bool more = false;                  // the next one is of the same choice and step
  std::optional<FinishEvent> finish;  // then there is no token
};

// Between the generator's threads, which only put, and the connections' thread, which takes. Wakes
// the latter once for all that was put since it last took.
class Mailbox {
 public:
  explicit Mailbox(int64_t bytes_max) : bytes_max_(bytes_max) {}

  // False: closed, or more is waiting already than may be pending.
  bool put(int32_t prompt, std::span<const TokenEvent> events);
  void put(int32_t prompt, const FinishEvent& finish);

  // Swaps what is there into `out`, whose contents go; false when there is nothing.
  bool take(std::vector<Delivery>& out);
  // From now on `wake` is called, from any thread, when there is something; now if there is.
  void watch(std::function<void()> wake);
  // Nothing is taken any more; when it returns no wake is running or will be called.
  void close();
  bool overflowed() const;

 private:
  void notify();  // with the lock held

  const int64_t bytes_max_;
  mutable std::mutex mutex_;
  std::vector<Delivery> deliveries_;
  int64_t bytes_ = 0;
  bool closed_ = false;
  bool overflowed_ = false;
  bool notified_ = false;
  std::function<void()> wake_;
};

// One prompt's sink.
class MailboxSink final : public TokenSink {
 public:
  MailboxSink(std::shared_ptr<Mailbox> mailbox, int32_t prompt)
      : mailbox_(std::move(mailbox)), prompt_(prompt) {}
  bool tokens(std::span<const TokenEvent> events) override {
    return mailbox_->put(prompt_, events);
  }
  void finish(const FinishEvent& event) override { mailbox_->put(prompt_, event); }

 private:
  const std::shared_ptr<Mailbox> mailbox_;
  const int32_t prompt_;
};

}  // namespace millrace
