#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "core/generator.h"
#include "core/params.h"

namespace millrace {

struct Route;

// What a generation came to: all its prompts together. Generated tokens are those that the client
// was to get.
struct GenerationReport {
  RequestUsage usage;
  // The earliest arrival, start and first token and the latest end of what has ended by itself.
  RequestTimes times = {Instant::infinite_future(), Instant::infinite_future(),
                        Instant::infinite_future(), Instant::infinite_past()};
  int64_t choices = 0;
  std::string error;  // what the server's own fault was, for the log alone

  void add(const FinishEvent& finish);        // the end of one prompt's work
  FinishReason reason = FinishReason::kNone;  // of the last choice to finish
};

// One answered request, for the log and the metrics. Status 499: the client left before its answer
// was whole.
struct RequestRecord {
  std::string id, method, path;
  const Route* route = nullptr;  // null: none
  int status = 0;
  int64_t body_bytes = 0;  // received
  int64_t bytes = 0;       // sent
  std::chrono::steady_clock::duration took{};
  std::optional<GenerationReport> generation;
};
inline constexpr int kClientLeft = 499;

}  // namespace millrace
