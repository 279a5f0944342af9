#include "engine/engine.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/system/signals_blocked.h"
#include "engine/check_request.h"

namespace millrace {
namespace {

absl::Status check_options(const EngineOptions& options, const Capacity& capacity) {
  RETURN_IF_ERROR(Ledger::supports(capacity.groups));
  if (options.rows_max < 1 || options.rows_max > capacity.rows_max) {
    return invalid_argument("a step of {} tokens: the executor takes 1 to {}", options.rows_max,
                            capacity.rows_max);
  }
  if (options.sequences_max < 1 || options.sequences_max > capacity.sequences_max) {
    return invalid_argument("{} sequences at once: the executor takes 1 to {}",
                            options.sequences_max, capacity.sequences_max);
  }
  if (options.long_prefill_rows < 0) {
    return invalid_argument("long prompts of {} tokens", options.long_prefill_rows);
  }
  if (options.state_snapshot_tokens < 0) {
    return invalid_argument("states kept every {} tokens", options.state_snapshot_tokens);
  }
  if (options.waiting_max < 0) return invalid_argument("a queue of {}", options.waiting_max);
  return absl::OkStatus();
}

absl::Status row_error(RowError error) {
  return error == RowError::kNotANumber
             ? internal_error("the model's output is not a number")
             : invalid_argument("every token is forbidden: nothing can be drawn");
}

int64_t longest(std::span<const Sequence> sequences) {
  int64_t tokens = 0;
  for (const Sequence& sequence : sequences) tokens = std::max(tokens, sequence.generated());
  return tokens;
}

int32_t preemptions(std::span<const Sequence> sequences) {
  int32_t times = 0;
  for (const Sequence& sequence : sequences) times += sequence.preemptions;
  return times;
}

// Of a draft's rows that were agreed with, the first ones, which lie in the slots of their
// positions.
int64_t rows_in_place(std::span<const int32_t> kept) {
  int64_t rows = 0;
  while (rows < std::ssize(kept) && kept[static_cast<size_t>(rows)] == rows) ++rows;
  return rows;
}

DraftingOptions drafting_of(const EngineOptions& options, const Ledger& ledger) {
  DraftingOptions drafting = options.drafting;
  drafting.chains_only |= ledger.keeps_states();
  return drafting;
}

// What is left to the executor is filled in.
EngineOptions resolved(EngineOptions options, const Capacity& capacity,
                       const Proposers& proposers) {
  ModelCard& card = options.card;
  for (const auto& proposer : proposers) card.draft_methods.emplace_back(proposer->method());
  card.drafts_automatically = !proposers.empty() && options.drafting.automatic;
  card.block_tokens = block_tokens_of(capacity.groups);
  card.prefix_caching = options.prefix_caching;
  card.context_max = std::min(card.context_max, Ledger::longest_sequence(capacity.groups));
  if (options.long_prefill_rows == 0) {
    options.long_prefill_rows = std::max(options.rows_max / 4, 1);
  }
  return options;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::create(EngineOptions options, Executor& executor,
                                                       const Tokenizer& tokenizer,
                                                       const Clock& clock,
                                                       std::vector<Observer*> observers,
                                                       Proposers proposers) {
  RETURN_IF_ERROR(check_options(options, executor.capacity()));
  ASSIGN_OR_RETURN(auto policy, make_policy(options.policy));
  return std::unique_ptr<Engine>(new Engine(std::move(options), executor, tokenizer, clock,
                                            std::move(observers), std::move(policy),
                                            std::move(proposers)));
}

Engine::Engine(EngineOptions options, Executor& executor, const Tokenizer& tokenizer,
               const Clock& clock, std::vector<Observer*> observers, std::unique_ptr<Policy> policy,
               Proposers proposers)
    : options_(resolved(std::move(options), executor.capacity(), proposers)),
      executor_(executor),
      clock_(clock),
      observers_(std::move(observers)),
      ledger_(executor.capacity().groups,
              {.prefix_caching = options_.prefix_caching,
               .state_snapshot_tokens = options_.state_snapshot_tokens}),
      planner_(std::move(policy), {.rows_max = options_.rows_max,
                                   .sequences_max = options_.sequences_max,
                                   .long_prefill_rows = options_.long_prefill_rows,
                                   .draft_depth_max = options_.drafting.depth_max}),
      strategies_(tokenizer,
                  Drafting(drafting_of(options_, ledger_), std::move(proposers), cost_, clock_)),
      counters_(ledger_, options_.card.draft_methods, options_.drafting.depth_max) {
  counters_.set_runnable(options_.sequences_max);
}

Engine::~Engine() { stop(); }

absl::StatusOr<std::vector<RequestId>> Engine::submit_all(std::vector<Submission> submissions) {
  int64_t sequences = 0;
  for (const Submission& submission : submissions) {
    CHECK(submission.sink != nullptr, "a request without a sink");
    RETURN_IF_ERROR(check_request(submission.request, options_.card));
    sequences += submission.request.choices;
  }
  if (!counters_.enter(sequences, options_.waiting_max)) {
    return resource_exhausted("the queue is full: {} sequences may wait", options_.waiting_max);
  }
  const auto count = static_cast<int64_t>(submissions.size());
  open_requests_ += count;
  std::vector<RequestId> ids;
  std::vector<Arrival> arrivals;
  for (Submission& submission : submissions) {
    ids.push_back({requests_ever_++});
    arrivals.push_back({.id = ids.back(),
                        .first = ids.front(),
                        .request = std::make_shared<const Request>(std::move(submission.request)),
                        .sink = std::move(submission.sink),
                        .arrived = clock_.now()});
  }
  const absl::Status posted = inbox_.post(std::move(arrivals));
  if (posted.ok()) return ids;
  counters_.leave(sequences);
  leave_open(count);
  return posted;
}

void Engine::cancel(RequestId id) { inbox_.cancel(id); }

absl::Status Engine::step() {
  began_ = computed_ = clock_.now();
  if (resting_) busy_since_ = began_;
  admit(inbox_.drain());
  planner_.plan(live_.sequences(), ledger_, began_, flight_);
  if (flight_.plan.slices.empty()) return deliver(flight_);
  strategies_.propose(flight_);
  planner_.fit(ledger_, flight_.plan);
  started_ = clock_.now();
  RETURN_IF_ERROR(executor_.start(build_batch(flight_)));
  strategies_.choose(flight_);
  RETURN_IF_ERROR(executor_.finish(flight_.orders, flight_.output));
  computed_ = clock_.now();
  strategies_.accept(flight_);
  settle(flight_);
  return deliver(flight_);
}

void Engine::admit(const Mail& mail) {
  for (const Arrival& arrival : mail.arrivals) {
    ledger_.look_up(live_.open(arrival).sequences.front());
  }
  for (const RequestId id : mail.cancelled) {
    end(id, absl::CancelledError("cancelled"), FinishReason::kAbort);
  }
  refuse_late();
}

void Engine::refuse_late() {
  live_.find_late(began_, options_.waiting_age_max, late_);
  for (const LiveRequest* live : late_) {
    end(live->id, resource_exhausted("the request waited too long"), FinishReason::kError);
  }
}

const Batch& Engine::build_batch(Flight& flight) {
  flatten(flight.plan, flight.batch);
  ledger_.drain(flight.batch);
  return flight.batch;
}

// What a broken row wrote is not shared.
void Engine::settle(const Flight& flight) {
  for (size_t i = 0; i < flight.plan.slices.size(); ++i) {
    const Outcome& outcome = flight.verdict.outcomes[i];
    if (outcome.error != RowError::kNone) continue;
    ledger_.settle(*outcome.sequence, rows_in_place(flight.verdict.kept_of(outcome)));
  }
  for (const Fork& fork : flight.verdict.forks) ledger_.fork(fork.parent, fork.child);
  const double ms = absl::ToDoubleMilliseconds(computed_ - started_);
  if (ms > 0) cost_.observe(shape_of(flight.batch), ms);
}

absl::Status Engine::deliver(const Flight& flight) {
  mark_started(flight.plan);
  collect_prompt_scores(flight);
  count_drafts(flight);
  collect_tokens(flight);
  collect_failures(flight);
  report(flight);
  hand_over();
  resting_ = live_.sequences().empty();
  return absl::OkStatus();
}

void Engine::mark_started(const Plan& plan) {
  for (const PlannedSlice& slice : plan.slices) {
    LiveRequest& live = live_.of(*slice.sequence);
    if (live.started()) continue;
    live.times.started = began_;
    live.usage.cached_tokens = slice.sequence->cached;
    counters_.add_prompt(live.usage.prompt_tokens, live.usage.cached_tokens);
  }
}

TokenEvent& Engine::new_event(const Sequence& sequence) {
  LiveRequest& live = live_.of(sequence);
  if (live.events.empty()) owed_.push_back(&live);
  TokenEvent& event = live.events.emplace_back();
  event.choice = sequence.choice;
  return event;
}

void Engine::collect_prompt_scores(const Flight& flight) {
  const DrawOrders& orders = flight.orders;
  for (size_t i = 0; i < orders.draws.size(); ++i) {
    const DrawOrder& order = orders.draws[i];
    if (order.kind != DrawKind::kScore) continue;
    const auto scored = static_cast<size_t>(order.scored.begin);
    const int32_t batch_row = flight.batch.wants[static_cast<size_t>(order.want)];
    const auto top = flight.output.top.row(static_cast<int32_t>(i));
    TokenEvent& event = new_event(*flight.targets[i].sequence);
    event.of_prompt = true;
    event.position = flight.batch.positions[static_cast<size_t>(batch_row)] + 1;
    event.token = orders.scored[scored];
    event.logprob = flight.output.scored[scored];
    event.top.assign(top.begin(), top.end());
  }
}

void Engine::collect_tokens(const Flight& flight) {
  for (const Outcome& outcome : flight.verdict.outcomes) {
    if (outcome.draws.size() == 0) continue;
    collect_tokens_of(outcome, flight);
    LiveRequest& live = live_.of(*outcome.sequence);
    live.usage.generated_tokens += outcome.draws.size();
    ++live.usage.steps;
    counters_.add_generated(outcome.draws.size());
    if (live.times.first_token == Instant::infinite_past()) {
      live.times.first_token = computed_;
      first_tokens_.push_back(computed_ - live.times.arrived);
    }
    time_tokens(*outcome.sequence, outcome.draws.size());
    if (outcome.finish == FinishReason::kNone) continue;
    live.reason = outcome.finish;
    --live.unfinished;
    retire(*outcome.sequence);
  }
}

void Engine::count_drafts(const Flight& flight) {
  counters_.add_draft_times(flight.plan.draft_times);
  if (flight.verdict.outcomes.empty()) return;
  for (size_t i = 0; i < flight.plan.slices.size(); ++i) {
    const PlannedSlice& slice = flight.plan.slices[i];
    const int64_t drafted = slice.draft.size();
    if (drafted == 0) continue;
    const int64_t accepted = flight.verdict.outcomes[i].kept.size();
    RequestUsage& usage = live_.of(*slice.sequence).usage;
    usage.drafted_tokens += drafted;
    usage.accepted_tokens += accepted;
    counters_.add_draft(flight.plan.draft_of(slice),
                        flight.verdict.kept_of(flight.verdict.outcomes[i]));
  }
}

void Engine::time_tokens(Sequence& sequence, int32_t count) {
  const bool first = sequence.last_token == Instant::infinite_past();
  const absl::Duration took = first ? absl::ZeroDuration() : computed_ - sequence.last_token;
  const int32_t gaps = first ? count - 1 : count;
  if (gaps > 0) gaps_.push_back({took, gaps});
  sequence.last_token = computed_;
}

void Engine::collect_tokens_of(const Outcome& outcome, const Flight& flight) {
  int64_t position = outcome.sequence->known() - outcome.draws.size();
  for (int32_t i = outcome.draws.begin; i < outcome.draws.end; ++i) {
    const int32_t draw = flight.verdict.draws[static_cast<size_t>(i)];
    const Drawn& drawn = flight.output.drawn[static_cast<size_t>(draw)];
    const auto top = flight.output.top.row(draw);
    TokenEvent& event = new_event(*outcome.sequence);
    event.position = static_cast<int32_t>(position++);
    event.token = drawn.token;
    event.logprob = drawn.logprob;
    event.top.assign(top.begin(), top.end());
    if (i + 1 < outcome.draws.end) continue;
    event.finish = outcome.finish;
    event.stop_string = outcome.stop_string;
  }
}

void Engine::collect_failures(const Flight& flight) {
  for (const Outcome& outcome : flight.verdict.outcomes) {
    if (outcome.error == RowError::kNone) continue;
    failures_.push_back({outcome.sequence->request_id, row_error(outcome.error)});
  }
}

// Observers hear of a step before its sinks do, so that a client that has its answer finds it
// counted.
void Engine::report(const Flight& flight) {
  const Plan& plan = flight.plan;
  counters_.add_preemptions(plan.preempted);
  service_rate_.add(computed_ - busy_since_, std::exchange(departed_, 0));
  busy_since_ = computed_;
  counters_.set_cost_error(cost_.error());
  counters_.set_per_sequence(service_rate_.per_sequence());
  counters_.set_runnable(plan.short_of_memory ? ledger_.sequences() : options_.sequences_max);
  count();
  const StepReport report{
      .rows = flight.batch.rows(), .gaps = gaps_, .first_tokens = first_tokens_};
  for (Observer* observer : observers_) observer->stepped(report);
  gaps_.clear();
  first_tokens_.clear();
}

void Engine::hand_over() {
  for (LiveRequest* live : owed_) {
    const bool heard = live->sink->tokens(live->events);
    live->events.clear();
    if (live->unfinished == 0) {
      end(live->id, absl::OkStatus(), live->reason);
    } else if (!heard) {
      end(live->id, absl::CancelledError("the client has left"), FinishReason::kAbort);
    }
  }
  owed_.clear();
  for (const Failure& failure : failures_) end(failure.id, failure.status, FinishReason::kError);
  failures_.clear();
}

void Engine::retire(Sequence& sequence) {
  if (!live_.finish(sequence)) return;
  if (ledger_.holds(sequence.id)) ++departed_;
  ledger_.release(sequence.id);
  strategies_.forget(sequence);
  counters_.leave(1);
}

void Engine::end(RequestId id, const absl::Status& status, FinishReason reason) {
  const std::unique_ptr<LiveRequest> live = live_.take(id);
  if (live == nullptr) return;
  for (Sequence& sequence : live->sequences) retire(sequence);
  count();
  live->times.finished = clock_.now();
  const RequestReport report{
      .reason = reason,
      .finish = {.status = status, .usage = live->usage, .times = live->times},
      .choices = live->request->choices,
      .tokens_max = live->request->stop.tokens_max,
      .generated_longest = longest(live->sequences),
      .preemptions = preemptions(live->sequences)};
  for (Observer* observer : observers_) observer->finished(report);
  live->sink->finish(report.finish);
  leave_open(1);
}

void Engine::end_all(const absl::Status& status) {
  admit(inbox_.drain());
  for (const RequestId id : live_.all()) end(id, status, FinishReason::kError);
}

void Engine::count() {
  // Choices hold their prompt's blocks from the fork on, before there is room in a step.
  counters_.set_running(std::min<int64_t>(ledger_.sequences(), options_.sequences_max));
  counters_.set_cache(ledger_);
}

void Engine::leave_open(int64_t requests) {
  if ((open_requests_ -= requests) > 0) return;
  const std::lock_guard lock(idle_mutex_);
  idle_.notify_all();
}

void Engine::start() {
  const std::lock_guard lock(thread_mutex_);
  CHECK(!thread_.joinable(), "the engine runs already");
  const SignalsBlocked blocked;
  thread_ = std::thread([this] { run(); });
}

void Engine::run() {
  while (inbox_.wait(idle())) {
    const absl::Status status = step();
    if (status.ok()) continue;
    healthy_ = false;
    // Why is for the operator: it may name what lies on this machine.
    inbox_.close(unavailable("the engine has failed and serves no more"));
    end_all(internal_error("the engine has failed: {}", message_of(status)));
  }
}

bool Engine::drain(absl::Duration timeout) {
  inbox_.close(unavailable("shutting down"));
  // A year is for ever, and fits the clock.
  const auto wait = absl::ToChronoMilliseconds(std::min(timeout, absl::Hours(24 * 365)));
  std::unique_lock lock(idle_mutex_);
  return idle_.wait_for(lock, wait, [&] { return idle(); });
}

void Engine::stop() {
  const std::lock_guard lock(thread_mutex_);
  inbox_.close(unavailable("shutting down"));
  inbox_.stop();
  if (thread_.joinable()) thread_.join();
  end_all(unavailable("shutting down"));
}

}  // namespace millrace
