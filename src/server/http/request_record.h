#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/generator.h"
#include "core/params.h"

namespace millrace {

// The totals of a generation, all its prompts together. Generated tokens are those meant for the
// client, sent or not.
struct GenerationReport {
  RequestUsage usage;
  // The earliest arrival, start and first token and the latest end, of prompts that have ended.
  RequestTimes times = {Instant::infinite_future(), Instant::infinite_future(),
                        Instant::infinite_future(), Instant::infinite_past()};
  int64_t choices = 0;
  std::string error;  // of the server itself, for the log alone

  void add(const FinishEvent& finish);        // the end of one prompt's work
  FinishReason reason = FinishReason::kNone;  // of the last choice to finish
};

// What answers requests of one method at one path; `path` is the route's, with a name in braces
// where it has one.
struct Handler {
  std::string_view method, path;
  bool operates = false;  // about the server, not the model
};

// One answered request, for the log and the metrics. Status 499: the client left before its answer
// was whole.
struct RequestRecord {
  std::string id, method, path;
  std::optional<Handler> handler;  // absent: no route
  int status = 0;
  int64_t body_bytes = 0;  // received
  int64_t bytes = 0;       // sent
  std::chrono::steady_clock::duration took{};
  std::optional<GenerationReport> generation;
};
inline constexpr int kClientLeft = 499;

}  // namespace millrace
