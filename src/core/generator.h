#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "base/clock.h"
#include "base/ids.h"
#include "core/draw_order.h"
#include "core/kv_spec.h"
#include "core/request.h"

namespace millrace {

// One token of one choice, generated or (with prompt_logprobs) of the prompt.
struct TokenEvent {
  int32_t choice = 0;
  int32_t position = 0;  // in the sequence; the first prompt token has 0
  TokenId token = 0;
  bool of_prompt = false;
  float logprob = 0;  // under the model's own distribution; set where logprobs were asked for
  std::vector<TokenLogprob> top;              // likeliest first; as many as were asked for
  FinishReason finish = FinishReason::kNone;  // set on a choice's last token
  int32_t stop_string = -1;  // index into StopParams::strings that ended the choice
};

struct RequestUsage {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, found in the prefix cache when it was first placed
  int64_t generated_tokens = 0;  // all choices; end-of-generation tokens count
  int64_t steps = 0;             // of a choice each, that generated some
  int64_t drafted_tokens = 0;    // that were verified, all choices
  int64_t accepted_tokens = 0;   // of these
};

struct RequestTimes {
  // Each is infinite_past() where it did not happen.
  Instant arrived = Instant::infinite_past(), started = arrived, first_token = arrived,
          finished = arrived;
};

// The end of a request. `status` is OK when every choice has finished by itself; CANCELLED, or the
// error that ended it.
struct FinishEvent {
  absl::Status status;
  RequestUsage usage;
  RequestTimes times;
};

// Takes a request's tokens. Called on the engine's thread: never blocks, never throws.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // False: the client has left, and the request is cancelled.
  virtual bool tokens(std::span<const TokenEvent> events) = 0;
  // Called once, and last.
  virtual void finish(const FinishEvent& event) = 0;
};

// What is served. Constant.
struct ModelCard {
  std::string id;
  int64_t context_max = 0;  // tokens of prompt and answer together: what the model was made for,
                            // or what the cache holds where that is less
  int32_t vocab_size = 0;
  absl::Time created;        // the date that clients are told
  int32_t block_tokens = 0;  // of the cache; the engine fills it in, as the next
  bool prefix_caching = false;
  std::vector<std::string> draft_methods = {};  // that a request may name
  bool drafts_automatically = false;  // a request may name "auto", and does where it names none
};

// A moment's use of one group of the cache.
struct GroupUse {
  KvGroup group;
  int64_t held = 0;       // units that sequences hold
  int64_t idle = 0;       // units kept for prompts that begin alike; a new sequence can have them
  int64_t evictions = 0;  // since start: kept units that others got
};

// What came of one method's drafts, since start.
struct DraftUse {
  std::string method;
  int64_t drafts = 0;                          // of a sequence and a step each
  int64_t tokens = 0;                          // in them
  absl::Duration took = absl::ZeroDuration();  // to propose them
  std::vector<int64_t> accepted_at;  // [depth_max] tokens that were accepted, the first after the
                                     // last known token, the second, ...
};

// A moment's counts.
struct GeneratorStats {
  int64_t running = 0;  // sequences in the batch
  int64_t waiting = 0;  // sequences that have not started, or were preempted
  std::vector<GroupUse> cache;
  int64_t preemptions = 0;    // since start
  int64_t prompt_tokens = 0;  // since start
  int64_t cached_tokens = 0;
  int64_t generated_tokens = 0;
  std::vector<DraftUse> drafts = {};  // by ModelCard::draft_methods
  // Busy time for each sequence that left the batch lately.
  absl::Duration per_sequence = absl::ZeroDuration();
  double cost_error = 0;  // how far the expected time of a step was off lately, as a share of it

  // The share of the cache's bytes that sequences hold.
  double cache_use() const {
    double held = 0, total = 0;
    for (const GroupUse& use : cache) {
      held += static_cast<double>(use.held * use.group.unit_bytes);
      total += static_cast<double>(use.group.units * use.group.unit_bytes);
    }
    return total > 0 ? held / total : 0;
  }
};

// One request and the sink of its tokens.
struct Submission {
  Request request;
  std::shared_ptr<TokenSink> sink;
};

// The door to the engine from above. Every call is safe from any thread.
class Generator {
 public:
  virtual ~Generator() = default;
  // Takes all of them or, on error, none, and then no sink is ever called.
  // RESOURCE_EXHAUSTED: the queue is full, try later. INVALID_ARGUMENT, OUT_OF_RANGE: the request
  // can never run. UNAVAILABLE: shutting down.
  virtual absl::StatusOr<std::vector<RequestId>> submit_all(
      std::vector<Submission> submissions) = 0;
  absl::StatusOr<RequestId> submit(Request request, std::shared_ptr<TokenSink> sink) {
    std::vector<Submission> one;
    one.push_back({std::move(request), std::move(sink)});
    absl::StatusOr<std::vector<RequestId>> ids = submit_all(std::move(one));
    if (!ids.ok()) return ids.status();
    return ids->front();
  }
  // The sink gets its finish() with CANCELLED soon after, unless the request has ended by itself.
  // Unknown ids are ignored.
  virtual void cancel(RequestId id) = 0;
  virtual const ModelCard& card() const = 0;
  virtual GeneratorStats stats() const = 0;
  // False: broken for good. Every request has ended and no other is taken.
  virtual bool healthy() const = 0;
};

}  // namespace millrace
