#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <absl/time/time.h>

#include "core/generator.h"
#include "text/stream.h"

namespace millrace {

// The sink of a request with one choice, for one thread that waits for its text.
class StreamedText final : public TokenSink {
 public:
  StreamedText(const Tokenizer& tokenizer, TextStream::Options options)
      : stream_(tokenizer, std::move(options)) {}

  bool tokens(std::span<const TokenEvent> events) override;
  void finish(const FinishEvent& event) override;

  // Waits at most `timeout` for more; returns the text that may be shown now, perhaps none.
  std::string wait(absl::Duration timeout);
  // Set when the answer has ended and wait() has given out all of it.
  const std::optional<FinishEvent>& end() const { return end_; }
  // Of the last token that wait() has given out.
  FinishReason last_reason() const { return last_reason_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<TokenEvent> arrived_;
  std::optional<FinishEvent> finished_;
  TextStream stream_;               // the waiting thread's
  std::optional<FinishEvent> end_;  // the waiting thread's
  FinishReason last_reason_ = FinishReason::kNone;
};

}  // namespace millrace
