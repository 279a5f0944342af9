#pragma once

#include <cstdint>
#include <span>

#include <absl/time/time.h>

#include "base/ids.h"
#include "core/generator.h"

namespace millrace {

// A sequence got `tokens` tokens, `took` after its last one. Its first token ends no gap.
struct TokenGap {
  absl::Duration took = absl::ZeroDuration();
  int32_t tokens = 0;
};

// What one step of the engine did. The spans are valid during the call.
struct StepReport {
  int32_t rows = 0;                              // positions computed
  std::span<const TokenGap> gaps;                // that ended in this step
  std::span<const absl::Duration> first_tokens;  // of requests, since they arrived
};

struct RequestReport {
  FinishReason reason = FinishReason::kNone;  // of the last choice to finish
  FinishEvent finish;
  int32_t choices = 1;
  int64_t tokens_max = 0;
  int64_t generated_longest = 0;  // tokens of the choice that has most
  int32_t preemptions = 0;        // of all its choices
};

// Watches the engine: metrics, logs, cost models. Called on the engine's thread.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void stepped(const StepReport& report) = 0;
  virtual void finished(const RequestReport& report) = 0;
};

}  // namespace millrace
