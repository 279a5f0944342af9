#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "core/executor.h"

namespace millrace {

struct PerplexityOrder {
  std::vector<TokenId> tokens;         // of the whole text
  int32_t context = 512;               // tokens in a chunk
  int64_t chunks_max = 0;              // 0: as many as the text fills
  std::optional<TokenId> first_token;  // replaces the first of each chunk
  std::function<void(double part, double running)> progress;
};

struct Perplexity {
  double value = 0;
  double standard_error = 0;
  int64_t tokens = 0;  // scored
  int64_t chunks = 0;
};

// Chunks as llama-perplexity cuts them: one after the other without overlap, each computed by
// itself; the tokens after its first half are scored, so that each has at least that much context.
// `executor` is idle and has room for a sequence of order.context tokens. INVALID_ARGUMENT where
// the text does not fill a chunk; INTERNAL, naming the chunk, where logits are not all numbers.
absl::StatusOr<Perplexity> measure_perplexity(Executor& executor, const PerplexityOrder& order);

}  // namespace millrace
