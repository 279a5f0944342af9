#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <absl/time/time.h>

#include "base/clock.h"
#include "base/status.h"
#include "core/cost/cost_model.h"
#include "core/executor.h"
#include "core/flight.h"
#include "core/generator.h"
#include "core/observer.h"
#include "decode/all.h"
#include "engine/counters.h"
#include "engine/inbox.h"
#include "engine/live_requests.h"
#include "engine/service_rate.h"
#include "kv/ledger.h"
#include "sched/planner.h"

namespace millrace {

struct EngineOptions {
  ModelCard card;              // context_max: the model's; the engine lowers it to what the cache
                               // holds
  int32_t sequences_max = 64;  // in one step; at most the executor's
  int32_t rows_max = 512;      // positions in one step, prompts' chunks included; at most the
                               // executor's
  int64_t long_prefill_rows = 0;  // a prompt with more left to compute is long, and leaves shorter
                                  // ones half of a step; 0: a quarter of rows_max
  int64_t waiting_max = 256;      // sequences that may wait besides those running
  absl::Duration waiting_age_max = absl::InfiniteDuration();  // then one that never ran is refused
  bool prefix_caching = true;
  int64_t state_snapshot_tokens = 512;  // a state is kept for prompts that begin alike every so
                                        // many; 0: only where prompts and answers end
  std::string policy = "fcfs";          // one of policy_names()
  DraftingOptions drafting;
};

// The control wing as one Generator. Its thread runs the steps; submit, cancel, card, stats,
// healthy, start, stop and drain may be called from any thread. Without start() its owner may call
// step() instead, as tests do.
class Engine final : public Generator {
 public:
  // Everything referred to outlives the engine. `proposers` make drafts, together for
  // requests that name none of them. Errors: limits beyond the executor's, a cache
  // layout or a policy that is not known.
  static absl::StatusOr<std::unique_ptr<Engine>> create(EngineOptions options, Executor& executor,
                                                        const Tokenizer& tokenizer,
                                                        const Clock& clock,
                                                        std::vector<Observer*> observers = {},
                                                        Proposers proposers = {});
  ~Engine() override;  // stops

  absl::StatusOr<std::vector<RequestId>> submit_all(std::vector<Submission> submissions) override;
  void cancel(RequestId id) override;
  const ModelCard& card() const override { return options_.card; }
  GeneratorStats stats() const override { return counters_.stats(); }

  void start();
  // Takes no more requests (UNAVAILABLE) and waits until all have ended; false: not within
  // `timeout`, they go on.
  bool drain(absl::Duration timeout);
  // Ends what is left with UNAVAILABLE and joins the thread.
  void stop();
  bool healthy() const override { return healthy_; }

  // One step; an error means that the executor is broken.
  absl::Status step();
  bool idle() const { return open_requests_ == 0; }
  void check_integrity() const { ledger_.check_integrity(); }

 private:
  Engine(EngineOptions options, Executor& executor, const Tokenizer& tokenizer, const Clock& clock,
         std::vector<Observer*> observers, std::unique_ptr<Policy> policy, Proposers proposers);

  struct Failure {
    RequestId id;
    absl::Status status;
  };

  void run();
  void admit(const Mail& mail);
  const Batch& build_batch(Flight& flight);
  void settle(const Flight& flight);
  absl::Status deliver(const Flight& flight);

  void mark_started(const Plan& plan);
  void collect_prompt_scores(const Flight& flight);
  void collect_tokens(const Flight& flight);
  void count_drafts(const Flight& flight);
  void time_tokens(Sequence& sequence, int32_t count);
  void collect_tokens_of(const Outcome& outcome, const Flight& flight);
  void collect_failures(const Flight& flight);
  void report(const Flight& flight);
  void hand_over();
  TokenEvent& new_event(const Sequence& sequence);

  void retire(Sequence& sequence);
  void end(RequestId id, const absl::Status& status, FinishReason reason);
  void end_all(const absl::Status& status);
  void refuse_late();
  void count();
  void leave_open(int64_t requests);

  const EngineOptions options_;
  Executor& executor_;
  const Clock& clock_;
  const std::vector<Observer*> observers_;

  Inbox inbox_;
  Ledger ledger_;
  Planner planner_;
  CostModel cost_;  // of steps, without what proposing takes
  Strategies strategies_;
  Flight flight_;
  LiveRequests live_;
  std::vector<LiveRequest*> owed_;  // whose sinks get events in this step
  std::vector<const LiveRequest*> late_;
  std::vector<Failure> failures_;  // of this step
  Instant began_;                  // when this step did
  Instant started_;                // when its batch went to the executor
  Instant computed_;               // when its tokens were there
  std::vector<TokenGap> gaps_;     // that its tokens ended
  std::vector<absl::Duration> first_tokens_;

  ServiceRate service_rate_;
  Instant busy_since_;    // what the rate has not counted yet began
  bool resting_ = true;   // there was nothing to do after the last step
  int64_t departed_ = 0;  // sequences, from the batch, since the last report

  Counters counters_;
  std::atomic<int64_t> requests_ever_ = 0;
  std::atomic<int64_t> open_requests_ = 0;  // submitted, and not told the end
  std::atomic<bool> healthy_ = true;
  std::mutex idle_mutex_;
  std::condition_variable idle_;
  std::mutex thread_mutex_;
  std::thread thread_;
};

}  // namespace millrace
