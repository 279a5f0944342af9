#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "core/request.h"

namespace millrace {

// Every sequence has tokens it knows and tokens it has computed; a step lets `computed` chase
// `known`. It belongs to the control wing's thread.
struct Sequence {
  SeqId id;  // in order of arrival, a request's choices in theirs
  RequestId request_id;
  int32_t choice = 0;
  std::shared_ptr<const Request> request;
  std::span<Sequence> choices;  // all of its request, itself among them
  std::vector<TokenId> tokens;  // known: the prompt, then what was generated; empty: awaits_fork()
  int64_t computed = 0;         // tokens that the cache has; at most known - 1 between steps
  int64_t cached =
      -1;  // prompt tokens found in the prefix cache at the first placement; -1: never placed
  int64_t findable = 0;  // known tokens that were in the prefix cache when it arrived or was last
                         // preempted
  int64_t prompt_scored = 0;  // prompt rows whose log-probabilities have been reported
  int32_t preemptions = 0;
  Instant last_token = Instant::infinite_past();  // when the last generated one was there

  int64_t known() const { return static_cast<int64_t>(tokens.size()); }
  int64_t prompt() const { return static_cast<int64_t>(request->prompt.size()); }
  int64_t generated() const { return known() - prompt(); }
  int64_t pending() const { return known() - computed; }

  // One prompt pass serves all choices: the others are forked from the first when it has computed
  // the prompt.
  bool awaits_fork() const { return tokens.empty(); }

  // Leading rows of the prompt that are wanted for their log-probabilities; the last has no next
  // prompt token to score.
  int64_t rows_to_score() const {
    return request->prompt_logprobs == kNoLogprobs || choice > 0 ? 0 : prompt() - 1;
  }
  // Leading tokens whose rows are not wanted, so that a prefix cache may stand in for them. The
  // last known token's row is always wanted.
  int64_t skippable() const {
    return prompt_scored < rows_to_score() ? prompt_scored : known() - 1;
  }
  bool wants_row(int64_t position) const {
    return position == known() - 1 || (position >= prompt_scored && position < rows_to_score());
  }

  // After a step computed `rows` more of what is known. The token drawn from the last of them is
  // not stored before another step computes it, so `computed` stays below `known` once that token
  // is added.
  void advance(int64_t rows) { computed += rows; }
};

}  // namespace millrace
