#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "core/request.h"

namespace millrace {

// Every sequence has tokens it knows and tokens it has computed; a step lets `computed` chase
// `known`.
struct Sequence {
  SeqId id;
  RequestId request_id;
  int32_t choice = 0;
  std::shared_ptr<const Request> request;
  std::vector<TokenId> tokens;  // known: the prompt, then what was generated
  int64_t computed = 0;  // tokens whose keys and values are stored; at most known - 1 between steps
  std::vector<TokenId> draft;  // guesses for what comes after `tokens`; optional work
  int64_t cached =
      -1;  // prompt tokens found in the prefix cache at the first placement; -1: never placed
  int32_t preemptions = 0;

  int64_t known() const { return static_cast<int64_t>(tokens.size()); }
  int64_t prompt() const { return static_cast<int64_t>(request->prompt.size()); }
  int64_t generated() const { return known() - prompt(); }
  int64_t pending() const { return known() + static_cast<int64_t>(draft.size()) - computed; }
};

}  // namespace millrace
