#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/time/time.h>

#include "base/clock.h"
#include "base/status.h"
#include "core/executor.h"
#include "core/flight.h"
#include "core/generator.h"
#include "core/observer.h"
#include "decode/all.h"
#include "engine/answer.h"
#include "engine/counters.h"
#include "engine/inbox.h"
#include "kv/ledger.h"
#include "sched/planner.h"

namespace millrace {

struct EngineOptions {
  ModelCard card;              // context_max: the most tokens that prompt and answer may have
  int32_t sequences_max = 64;  // in one step; at most the executor's
  int32_t rows_max = 512;      // positions in one step, prompts' chunks included; at most the
                               // executor's
  int64_t waiting_max = 256;   // sequences that may wait besides those running
  absl::Duration waiting_age_max = absl::InfiniteDuration();  // then one that never ran gives up
  bool prefix_caching = true;
  std::string policy = "fcfs";  // one of policy_names()
};

// The control wing as one Generator. Its thread runs the steps; submit, cancel, card, stats,
// healthy, start, stop and drain may be called from any thread. Without start() whoever made it may
// call step() instead: so tests do.
class Engine final : public Generator {
 public:
  // Everything referred to outlives the engine. Errors: limits beyond the executor's, a cache
  // layout or a policy that is not known.
  static absl::StatusOr<std::unique_ptr<Engine>> create(EngineOptions options, Executor& executor,
                                                        const Tokenizer& tokenizer,
                                                        const Clock& clock,
                                                        std::vector<Observer*> observers = {});
  ~Engine() override;  // stops

  absl::StatusOr<RequestId> submit(Request request, std::shared_ptr<TokenSink> sink) override;
  void cancel(RequestId id) override;
  const ModelCard& card() const override { return options_.card; }
  GeneratorStats stats() const override { return counters_.stats(); }

  void start();
  // Takes no more requests (UNAVAILABLE) and waits until all have ended; false: not within
  // `timeout`, they go on.
  bool drain(absl::Duration timeout);
  // Ends what is left with UNAVAILABLE and joins the thread.
  void stop();
  // False once the executor has failed: every request was ended and no other is taken.
  bool healthy() const { return healthy_.load(); }

  // One step; an error means that the executor is broken.
  absl::Status step();
  bool idle() const { return counters_.outstanding() == 0; }
  void check_integrity() const;

 private:
  Engine(EngineOptions options, Executor& executor, const Tokenizer& tokenizer, const Clock& clock,
         std::vector<Observer*> observers, std::unique_ptr<Policy> policy);

  void run();
  void admit(const Mail& mail);
  void open(const Arrival& arrival);
  void expire(absl::Time now);
  const Batch& build_batch(Flight& flight);
  void settle(const Flight& flight);
  absl::Status deliver(const Flight& flight);
  void collect_prompt_scores(const Flight& flight);
  void collect_tokens(const Flight& flight);
  void hand_over();
  void report(const Flight& flight);
  void end(RequestId id, const absl::Status& status, FinishReason reason);
  void end_all(const absl::Status& status, FinishReason reason);
  void retire(Sequence& sequence);
  Answer& answer_of(const Sequence& sequence);

  const EngineOptions options_;
  Executor& executor_;
  const Clock& clock_;
  const std::vector<Observer*> observers_;

  Inbox inbox_;
  Ledger ledger_;
  Planner planner_;
  Strategies strategies_;
  Flight flight_;
  absl::flat_hash_map<RequestId, std::unique_ptr<Answer>> answers_;
  std::vector<Sequence*> live_;        // of all answers, those not finished
  int64_t sequences_ever_ = 0;
  Counters counters_;

  std::atomic<int64_t> requests_ever_ = 0;
  std::atomic<bool> healthy_ = true;
  std::mutex idle_mutex_;
  std::condition_variable idle_;
  std::mutex thread_mutex_;
  std::thread thread_;
};

}  // namespace millrace
