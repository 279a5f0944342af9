#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "core/shared_list.h"
#include "core/token_set.h"

namespace millrace {

// How the next token is drawn from a row of logits. Ranges are checked where a request enters
// (server, apps). Order of use: penalties and bias, bans, temperature, top-k, typical, top-p,
// min-p, draw.
struct SamplingParams {
  float temperature = 1.0F;  // 0: greedy
  int32_t top_k = 0;         // 0: off
  float top_p = 1.0F;        // nucleus (Holtzman et al. 2020); 0 keeps the likeliest alone
  float min_p = 0.0F;        // relative to the likeliest token (Nguyen et al. 2024)
  float typical = 1.0F;      // locally typical (Meister et al. 2022)
  float repetition = 1.0F;   // divides positive, multiplies negative logits of prompt and output
                             // tokens (Keskar et al. 2019)
  float presence = 0.0F;     // subtracted once for each distinct output token
  float frequency = 0.0F;    // subtracted for each occurrence in the output
  std::vector<std::pair<TokenId, float>> logit_bias;  // added to the logits; each token once
  SharedList<std::vector<TokenId>> banned = {};  // runs of tokens that no answer holds; none empty
  TokenSet allowed = {};                         // the only tokens to draw from; empty: all
  uint64_t seed = 0;
};

// When a sequence ends.
struct StopParams {
  // None empty; the one that ends first wins, at equal ends the longest.
  SharedList<std::string> strings = {};
  TokenSet tokens = {};      // besides the vocabulary's end-of-generation tokens
  int64_t tokens_min = 0;    // ends of generation and stops are suppressed before this many tokens
  int64_t tokens_max = 0;    // at least 1
  bool ignore_eos = false;   // the vocabulary's end-of-generation tokens do not stop
  bool skip_special = true;  // special tokens have no text that a string could be found in
};

enum class FinishReason : uint8_t {
  kNone,    // not finished
  kStop,    // an end-of-generation token, a stop token or a stop string
  kLength,  // tokens_max or the end of the context
  kAbort,   // cancelled: by the client, or because it left
  kError,   // see FinishEvent::status
};

}  // namespace millrace
