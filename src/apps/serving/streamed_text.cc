#include "apps/serving/streamed_text.h"

#include <utility>

namespace millrace {
namespace {

// The token that ended an answer is no part of its text; a stop string is cut by the stream.
bool is_text(const TokenEvent& event) {
  return event.finish != FinishReason::kStop || event.stop_string >= 0;
}

}  // namespace

bool StreamedText::tokens(std::span<const TokenEvent> events) {
  {
    const std::lock_guard lock(mutex_);
    arrived_.insert(arrived_.end(), events.begin(), events.end());
  }
  changed_.notify_one();
  return true;
}

void StreamedText::finish(const FinishEvent& event) {
  {
    const std::lock_guard lock(mutex_);
    finished_ = event;
  }
  changed_.notify_one();
}

std::string StreamedText::wait(absl::Duration timeout) {
  std::vector<TokenEvent> events;
  std::optional<FinishEvent> finished;
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, absl::ToChronoNanoseconds(timeout),
                      [this] { return !arrived_.empty() || finished_; });
    events.swap(arrived_);
    finished = finished_;
  }
  std::string text;
  for (const TokenEvent& event : events) {
    last_reason_ = event.finish;
    if (is_text(event)) text += stream_.push(event.token);
  }
  if (finished && !end_) {
    text += stream_.finish();
    end_ = std::move(finished);
  }
  return text;
}

}  // namespace millrace
