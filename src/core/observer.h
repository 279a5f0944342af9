#pragma once

#include <cstdint>
#include <span>

#include <absl/time/time.h>

#include "base/ids.h"
#include "core/generator.h"

namespace millrace {

// `tokens` more of a sequence, `took` after those that it had. A sequence's first token ends no
// gap.
struct TokenGap {
  absl::Duration took = absl::ZeroDuration();
  int32_t tokens = 0;
};

// One step of the engine, after it. The spans are valid during the call.
struct StepReport {
  absl::Duration took = absl::ZeroDuration();
  int32_t sequences = 0;
  int32_t rows = 0;         // positions computed
  int32_t prompt_rows = 0;  // of them, tokens of prompts
  int32_t generated = 0;    // tokens committed
  int32_t preempted = 0;
  int64_t waiting = 0;
  std::span<const TokenGap> gaps;                // that this step's tokens ended
  std::span<const absl::Duration> first_tokens;  // of requests, since they arrived
};

struct RequestReport {
  RequestId id;
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
