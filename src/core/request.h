#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "core/params.h"

namespace millrace {

inline constexpr int32_t kNoLogprobs = -1;

// What a client asks for, below the line where there is no JSON and no text but the stop strings.
struct Request {
  std::vector<TokenId> prompt;  // at least one token, all within the vocabulary
  SamplingParams sampling;
  StopParams stop;
  int32_t choices = 1;                    // OpenAI's `n`: answers drawn from one prompt pass
  int32_t logprobs = kNoLogprobs;         // 0: of the chosen token only; k: of the k likeliest too
  int32_t prompt_logprobs = kNoLogprobs;  // the same for every prompt token but the first
  std::string draft_method;               // how drafts are made; empty: the engine's first choice,
                                          // "none": none are
  uint64_t cache_salt = 0;                // prompts share cached blocks only under the same salt
};

}  // namespace millrace
