#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/time/time.h>

#include "core/generator.h"
#include "core/sequence.h"
#include "engine/inbox.h"

namespace millrace {

// An admitted request: its sequences, and the events that its sink has yet to get.
struct LiveRequest {
  RequestId id;
  RequestId first;  // of those that were submitted with it
  std::shared_ptr<const Request> request;
  std::shared_ptr<TokenSink> sink;
  std::vector<Sequence> sequences;            // [choices]; never resized, for others point to them
  int32_t unfinished = 0;                     // sequences
  FinishReason reason = FinishReason::kNone;  // of the last sequence to finish
  RequestUsage usage;
  RequestTimes times;
  std::vector<TokenEvent> events;  // of this step, not yet handed over

  bool started() const { return times.started != Instant::infinite_past(); }
};

// Every request that was admitted and has not ended, and which of their sequences still run.
class LiveRequests {
 public:
  LiveRequest& open(const Arrival& arrival);
  LiveRequest& of(const Sequence& sequence) { return *requests_.at(sequence.request_id); }
  // Takes a request out; null when it has ended already.
  std::unique_ptr<LiveRequest> take(RequestId id);
  // Takes a sequence out of sequences(); false when it was not in it.
  bool finish(Sequence& sequence);

  // Sequences that have not finished, those that wait among them.
  std::span<Sequence* const> sequences() const { return live_; }
  std::vector<RequestId> all() const;
  // Those that did not begin within `waiting_age_max`, nor did any that were submitted with them.
  void find_late(Instant now, absl::Duration waiting_age_max,
                 std::vector<const LiveRequest*>& late) const;

 private:
  bool began_any(const LiveRequest& live) const;

  absl::flat_hash_map<RequestId, std::unique_ptr<LiveRequest>> requests_;
  std::vector<Sequence*> live_;
  int64_t sequences_ever_ = 0;
};

}  // namespace millrace
