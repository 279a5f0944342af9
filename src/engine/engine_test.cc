#include "engine/engine.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "tests/fixtures/engine/scripted_model.h"

namespace millrace {
namespace {

constexpr int32_t kVocab = 4;

Request request_of(int64_t prompt, int64_t tokens_max) {
  Request request;
  request.prompt.assign(static_cast<size_t>(prompt), 1);
  request.sampling.temperature = 0;
  request.stop.tokens_max = tokens_max;
  request.stop.ignore_eos = true;
  return request;
}

class Watcher final : public Observer {
 public:
  void stepped(const StepReport& report) override {
    steps.push_back(report);
    first_tokens.insert(first_tokens.end(), report.first_tokens.begin(), report.first_tokens.end());
    for (const TokenGap& gap : report.gaps) {
      gaps.insert(gaps.end(), static_cast<size_t>(gap.tokens), gap.took / gap.tokens);
    }
  }
  void finished(const RequestReport& report) override { requests.push_back(report); }
  std::vector<StepReport> steps;
  std::vector<RequestReport> requests;
  std::vector<absl::Duration> gaps, first_tokens;
};

// An engine stepped by hand over a scripted model: 16 blocks of 4 tokens.
class EngineTest : public testing::Test {
 protected:
  EngineTest() {
    options_.card.context_max = 64;
    options_.card.vocab_size = kVocab;
    options_.rows_max = 32;
    options_.sequences_max = 4;
  }

  Engine& engine() {
    if (!engine_) {
      engine_ = *Engine::create(options_, executor_, *tokenizer_, clock_, {&watcher_});
    }
    return *engine_;
  }
  std::shared_ptr<Notebook> submit(Request request) {
    auto sink = std::make_shared<Notebook>();
    const auto id = engine().submit(std::move(request), sink);
    EXPECT_TRUE(id.ok()) << id.status();
    last_ = id.value_or(RequestId{});
    return sink;
  }
  absl::Status refused(Request request) {
    return engine().submit(std::move(request), std::make_shared<Notebook>()).status();
  }
  void run_dry() {
    for (int i = 0; i < 1000 && !engine().idle(); ++i) {
      ASSERT_TRUE(engine().step().ok());
      engine().check_integrity();
    }
    EXPECT_TRUE(engine().idle());
  }
  static absl::StatusCode end_of(const Notebook& sink) {
    return sink.ends.size() == 1 ? sink.ends[0].status.code() : absl::StatusCode::kUnknown;
  }

  std::unique_ptr<const Tokenizer> tokenizer_ = letters(kVocab);
  ScriptedExecutor executor_{{.vocab = kVocab}, 4, 16, 32, 4};
  ManualClock clock_;
  Watcher watcher_;
  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
  RequestId last_;
};

TEST_F(EngineTest, RefusesLimitsBeyondTheExecutors) {
  for (const auto& [rows, sequences, policy] :
       {std::tuple(33, 4, "fcfs"), {0, 4, "fcfs"}, {32, 5, "fcfs"}, {32, 4, "lottery"}}) {
    options_.rows_max = rows;
    options_.sequences_max = sequences;
    options_.policy = policy;
    EXPECT_EQ(Engine::create(options_, executor_, *tokenizer_, clock_).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(EngineTest, RefusesWhatCanNeverRun) {
  EXPECT_EQ(refused(request_of(0, 1)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused(request_of(1, 0)).code(), absl::StatusCode::kInvalidArgument);
  Request request = request_of(1, 1);
  request.prompt[0] = kVocab;
  EXPECT_EQ(refused(request).code(), absl::StatusCode::kInvalidArgument);
  request = request_of(1, 1);
  request.stop.tokens = {-1};
  EXPECT_EQ(refused(request).code(), absl::StatusCode::kInvalidArgument);
  request = request_of(1, 1);
  request.stop.strings = {""};
  EXPECT_EQ(refused(request).code(), absl::StatusCode::kInvalidArgument);
  request = request_of(1, 1);
  request.sampling.logit_bias = {{9, 1.0F}};
  EXPECT_EQ(refused(request).code(), absl::StatusCode::kInvalidArgument);
  request = request_of(1, 1);
  request.choices = 0;
  EXPECT_EQ(refused(request).code(), absl::StatusCode::kInvalidArgument);

  const absl::Status beyond = refused(request_of(60, 5));
  EXPECT_EQ(beyond.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(message_of(beyond),
            "This model's maximum context length is 64 tokens. However, you requested 5 output "
            "tokens and your prompt contains at least 60 input tokens, for a total of at least 65 "
            "tokens. Please reduce the length of the input prompt or the number of requested "
            "output tokens.");
  EXPECT_EQ(refused(request_of(1, std::numeric_limits<int64_t>::max())).code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_TRUE(engine().idle());
}

TEST_F(EngineTest, TellsOfTimesUsageAndSteps) {
  const auto sink = submit(request_of(40, 3));
  clock_.advance(absl::Seconds(1));
  ASSERT_TRUE(engine().step().ok());  // 32 of the prompt
  EXPECT_TRUE(sink->events.empty());
  clock_.advance(absl::Seconds(1));
  run_dry();
  ASSERT_EQ(end_of(*sink), absl::StatusCode::kOk);
  const FinishEvent& end = sink->ends[0];
  EXPECT_EQ(end.usage.prompt_tokens, 40);
  EXPECT_EQ(end.usage.generated_tokens, 3);
  EXPECT_EQ(end.usage.cached_tokens, 0);
  EXPECT_EQ(end.times.started - end.times.arrived, absl::Seconds(1));
  EXPECT_EQ(end.times.first_token - end.times.arrived, absl::Seconds(2));
  EXPECT_EQ(sink->events.back().finish, FinishReason::kLength);

  ASSERT_EQ(watcher_.steps.size(), 4U);
  EXPECT_EQ(watcher_.steps[0].rows, 32);
  EXPECT_EQ(watcher_.steps[1].rows, 8);
  EXPECT_EQ(watcher_.steps[2].rows, 1);
  ASSERT_EQ(watcher_.requests.size(), 1U);
  EXPECT_EQ(watcher_.requests[0].reason, FinishReason::kLength);

  const auto again = submit(request_of(40, 3));
  run_dry();
  EXPECT_EQ(again->ends[0].usage.cached_tokens, 39);
  EXPECT_EQ(engine().stats().prompt_tokens, 80);
  EXPECT_EQ(engine().stats().cached_tokens, 39);
  EXPECT_EQ(engine().stats().generated_tokens, 6);
}

TEST_F(EngineTest, TimesTokens) {
  Request request = request_of(40, 3);
  request.choices = 2;
  submit(request);
  while (!engine().idle()) {
    ASSERT_TRUE(engine().step().ok());
    clock_.advance(absl::Seconds(1));
  }
  EXPECT_EQ(watcher_.first_tokens, std::vector<absl::Duration>{absl::Seconds(1)});
  EXPECT_EQ(watcher_.gaps, std::vector<absl::Duration>(4, absl::Seconds(1)));
  EXPECT_EQ(watcher_.requests[0].generated_longest, 3);
  submit(request_of(4, 1));
  run_dry();
  EXPECT_EQ(watcher_.first_tokens.size(), 2U);
  EXPECT_EQ(watcher_.gaps.size(), 4U);
}

TEST_F(EngineTest, TellsItsPaceWhileItIsBusy) {
  EXPECT_EQ(engine().stats().per_sequence, absl::ZeroDuration());
  for (int i = 0; i < 3; ++i) {
    submit(request_of(2, 4));
    while (!engine().idle()) {
      ASSERT_TRUE(engine().step().ok());
      clock_.advance(absl::Seconds(1));
    }
    clock_.advance(absl::Hours(1));
  }
  // The last of four steps of a second each ends at once by this clock.
  EXPECT_NEAR(absl::ToDoubleSeconds(engine().stats().per_sequence), 3, 0.2);
}

TEST_F(EngineTest, TakesAllOrNone) {
  options_.waiting_max = 0;
  options_.sequences_max = 1;
  const auto first_sink = std::make_shared<Notebook>(), sink = std::make_shared<Notebook>();
  const auto two_of = [&](const Request& second) {
    std::vector<Submission> submissions;
    submissions.push_back({request_of(2, 3), first_sink});
    submissions.push_back({second, sink});
    return engine().submit_all(std::move(submissions)).status();
  };
  EXPECT_EQ(two_of(request_of(2, 0)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(engine().idle());
  submit(request_of(2, 3));
  EXPECT_EQ(two_of(request_of(2, 3)).code(), absl::StatusCode::kResourceExhausted);
  run_dry();
  EXPECT_TRUE(first_sink->ends.empty() && sink->ends.empty());
  EXPECT_TRUE(two_of(request_of(2, 3)).ok());
  run_dry();
  EXPECT_EQ(end_of(*first_sink), absl::StatusCode::kOk);
  EXPECT_EQ(end_of(*sink), absl::StatusCode::kOk);
  EXPECT_EQ(engine().stats().waiting, 0);
}

TEST_F(EngineTest, ChoicesShareTheirPrompt) {
  for (const bool caching : {true, false}) {
    options_.prefix_caching = caching;
    engine_.reset();
    Request request = request_of(30, 2);
    request.choices = 4;
    const int64_t before = executor_.rows_computed(), copies = executor_.copies_made();
    const auto sink = submit(request);
    run_dry();
    EXPECT_EQ(executor_.rows_computed() - before, 30 + 4);
    EXPECT_EQ(executor_.copies_made() - copies, 2 * 3);  // of two groups; the last writes in place
    EXPECT_EQ(sink->ends[0].usage.prompt_tokens, 30);
    EXPECT_EQ(sink->ends[0].usage.generated_tokens, 8);
  }
}

TEST_F(EngineTest, ChoicesBeyondSequencesMaxWait) {
  options_.sequences_max = 1;
  Request request = request_of(2, 5);
  request.choices = 4;
  const auto sink = submit(request);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(engine().step().ok());
    EXPECT_EQ(engine().stats().running, 1);
    EXPECT_EQ(engine().stats().waiting, 3);
  }
  run_dry();
  EXPECT_EQ(end_of(*sink), absl::StatusCode::kOk);
}

TEST_F(EngineTest, BoundsItsQueue) {
  options_.waiting_max = 2;
  options_.sequences_max = 1;
  std::vector<std::shared_ptr<Notebook>> sinks;
  for (int i = 0; i < 3; ++i) sinks.push_back(submit(request_of(2, 5)));
  EXPECT_EQ(refused(request_of(2, 5)).code(), absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE(engine().step().ok());
  EXPECT_EQ(engine().stats().running, 1);
  EXPECT_EQ(engine().stats().waiting, 2);
  engine().cancel(last_);
  ASSERT_TRUE(engine().step().ok());
  EXPECT_EQ(end_of(*sinks[2]), absl::StatusCode::kCancelled);
  EXPECT_EQ(watcher_.requests[0].reason, FinishReason::kAbort);
  submit(request_of(2, 5));
  EXPECT_EQ(refused(request_of(2, 5)).code(), absl::StatusCode::kResourceExhausted);
  run_dry();
}

TEST_F(EngineTest, ChoicesCountInTheQueue) {
  options_.waiting_max = 2;
  options_.sequences_max = 1;
  Request request = request_of(2, 5);
  request.choices = 3;
  submit(request);
  EXPECT_EQ(refused(request_of(2, 5)).code(), absl::StatusCode::kResourceExhausted);
  run_dry();
}

TEST_F(EngineTest, AQueueOfNoneStillRuns) {
  options_.waiting_max = 0;
  options_.sequences_max = 1;
  const auto sink = submit(request_of(2, 5));
  EXPECT_EQ(refused(request_of(2, 5)).code(), absl::StatusCode::kResourceExhausted);
  run_dry();
  EXPECT_EQ(end_of(*sink), absl::StatusCode::kOk);
  submit(request_of(2, 5));
  run_dry();
}

TEST_F(EngineTest, RefusesWhatWaitsTooLong) {
  options_.waiting_age_max = absl::Seconds(1);
  options_.sequences_max = 1;
  const auto running = submit(request_of(2, 20));
  const auto waiting = submit(request_of(2, 20));
  ASSERT_TRUE(engine().step().ok());
  clock_.advance(absl::Seconds(2));
  run_dry();
  EXPECT_EQ(end_of(*running), absl::StatusCode::kOk);
  EXPECT_EQ(end_of(*waiting), absl::StatusCode::kResourceExhausted);
}

TEST_F(EngineTest, NeverRefusesAListThatHasBegun) {
  options_.waiting_age_max = absl::Seconds(1);
  options_.sequences_max = 1;
  std::vector<std::shared_ptr<Notebook>> sinks(3);
  std::vector<Submission> list;
  for (auto& sink : sinks) {
    sink = std::make_shared<Notebook>();
    list.push_back({request_of(2, 5), sink});
  }
  ASSERT_TRUE(engine().submit_all(std::move(list)).ok());
  const auto after = submit(request_of(2, 5));
  ASSERT_TRUE(engine().step().ok());
  clock_.advance(absl::Seconds(2));
  run_dry();
  for (const auto& sink : sinks) EXPECT_EQ(end_of(*sink), absl::StatusCode::kOk);
  EXPECT_EQ(end_of(*after), absl::StatusCode::kResourceExhausted);
}

TEST_F(EngineTest, TheCacheBoundsTheContext) {
  options_.card.context_max = 1000;
  EXPECT_EQ(engine().card().context_max, 64);
  EXPECT_EQ(refused(request_of(60, 5)).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(refused(request_of(65, 1)).code(), absl::StatusCode::kOutOfRange);
  options_.card.context_max = 20;
  engine_.reset();
  EXPECT_EQ(engine().card().context_max, 20);
}

TEST_F(EngineTest, AnAnswerThatFillsTheCacheEndsWithLength) {
  options_.card.context_max = 1000;
  for (const bool caching : {true, false}) {
    for (const int32_t scores : {kNoLogprobs, 1}) {
      options_.prefix_caching = caching;
      engine_.reset();
      std::vector<std::shared_ptr<Notebook>> sinks;
      for (const int64_t prompt : {1, 30, 63}) {
        Request request = request_of(prompt, engine().card().context_max - prompt);
        request.choices = prompt == 30 ? 3 : 1;
        request.prompt_logprobs = scores;
        sinks.push_back(submit(request));
      }
      run_dry();
      EXPECT_GT(engine().stats().preemptions, 0);
      for (const auto& sink : sinks) {
        ASSERT_EQ(end_of(*sink), absl::StatusCode::kOk);
        EXPECT_EQ(sink->events.back().finish, FinishReason::kLength);
        EXPECT_EQ(sink->events.back().position, 63);
      }
    }
  }
}

TEST_F(EngineTest, FailsWhereNothingIsAllowed) {
  Request request = request_of(2, 5);
  for (TokenId token = 0; token < kVocab; ++token) {
    request.sampling.logit_bias.push_back({token, -std::numeric_limits<float>::infinity()});
  }
  const auto sink = submit(request);
  const auto other = submit(request_of(3, 2));
  run_dry();
  EXPECT_EQ(end_of(*sink), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(end_of(*other), absl::StatusCode::kOk);
}

TEST_F(EngineTest, CancelsForASinkThatNoLongerListens) {
  auto sink = std::make_shared<Notebook>();
  sink->events_max = 2;
  ASSERT_TRUE(engine().submit(request_of(2, 20), sink).ok());
  run_dry();
  EXPECT_EQ(sink->events.size(), 2U);
  EXPECT_EQ(end_of(*sink), absl::StatusCode::kCancelled);
}

TEST_F(EngineTest, IgnoresUnknownAndLateCancels) {
  engine().cancel({1234});
  const auto sink = submit(request_of(2, 1));
  run_dry();
  engine().cancel(last_);
  ASSERT_TRUE(engine().step().ok());
  EXPECT_EQ(end_of(*sink), absl::StatusCode::kOk);
}

TEST_F(EngineTest, EndsEverythingWhenTheExecutorBreaks) {
  executor_.break_after(3);
  const auto sink = submit(request_of(2, 20));
  engine().start();
  while (engine().healthy()) std::this_thread::yield();
  engine().stop();
  EXPECT_EQ(end_of(*sink), absl::StatusCode::kInternal);
  const absl::Status refusal = refused(request_of(2, 1));
  EXPECT_TRUE(absl::IsUnavailable(refusal));
  EXPECT_EQ(message_of(refusal).find("device"), std::string_view::npos) << refusal;
}

TEST_F(EngineTest, StopsWithRequestsOnTheirWay) {
  const auto sink = submit(request_of(2, 20));
  ASSERT_TRUE(engine().step().ok());
  const auto unseen = submit(request_of(2, 20));
  engine().stop();
  EXPECT_EQ(end_of(*sink), absl::StatusCode::kUnavailable);
  EXPECT_EQ(end_of(*unseen), absl::StatusCode::kUnavailable);
  EXPECT_EQ(refused(request_of(2, 1)).code(), absl::StatusCode::kUnavailable);
  engine().check_integrity();
}

TEST_F(EngineTest, DrainsBeforeItStops) {
  const auto sink = submit(request_of(2, 20));
  EXPECT_FALSE(engine().drain(absl::ZeroDuration()));  // no thread steps
  EXPECT_EQ(refused(request_of(2, 1)).code(), absl::StatusCode::kUnavailable);
  engine().start();
  EXPECT_TRUE(engine().drain(absl::InfiniteDuration()));
  EXPECT_EQ(end_of(*sink), absl::StatusCode::kOk);
  EXPECT_TRUE(engine().healthy());
}

// Counts its calls; the tests of threads wait for its end.
class Listener final : public TokenSink {
 public:
  bool tokens(std::span<const TokenEvent> events) override {
    tokens_ += std::ssize(events);
    return true;
  }
  void finish(const FinishEvent& event) override {
    const std::lock_guard lock(mutex_);
    ++ends_;
    status_ = event.status;
    ended_.notify_all();
  }
  absl::Status wait() {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return ends_ > 0; });
    return status_;
  }
  int ends() const { return ends_; }
  int64_t tokens() const { return tokens_; }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  int ends_ = 0;
  int64_t tokens_ = 0;
  absl::Status status_;
};

// One client: some requests at a time, some of them cancelled.
void visit(Engine& engine, uint64_t seed, std::vector<std::shared_ptr<Listener>>& sinks) {
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::pair<RequestId, std::shared_ptr<Listener>>> open;
    for (int i = 0; i < 3; ++i) {
      Request request = request_of(1 + static_cast<int64_t>(random() % 20),
                                   1 + static_cast<int64_t>(random() % 20));
      request.choices = 1 + static_cast<int32_t>(random() % 3);
      auto sink = std::make_shared<Listener>();
      const auto id = engine.submit(std::move(request), sink);
      if (!id.ok()) {
        ASSERT_EQ(id.status().code(), absl::StatusCode::kResourceExhausted);
        EXPECT_EQ(sink->ends(), 0);
        continue;
      }
      open.emplace_back(*id, sink);
      sinks.push_back(sink);
      if (random() % 4 == 0) engine.cancel(*id);
    }
    (void)engine.stats();
    for (const auto& [id, sink] : open) {
      if (random() % 4 == 0) engine.cancel(id);
      const absl::Status status = sink->wait();
      EXPECT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
    }
  }
}

TEST_F(EngineTest, ServesManyThreadsAtOnce) {
  options_.waiting_max = 24;
  const RealClock clock;
  engine_ = *Engine::create(options_, executor_, *tokenizer_, clock);
  engine().start();
  std::vector<std::thread> threads;
  std::vector<std::vector<std::shared_ptr<Listener>>> sinks(8);
  for (uint64_t i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] { visit(engine(), i, sinks[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(engine().drain(absl::InfiniteDuration()));
  const GeneratorStats stats = engine().stats();
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.waiting, 0);
  EXPECT_EQ(stats.cache_use(), 0);
  engine().stop();
  engine().check_integrity();
  int64_t tokens = 0;
  for (const auto& of_thread : sinks) {
    for (const auto& sink : of_thread) {
      EXPECT_EQ(sink->ends(), 1);
      tokens += sink->tokens();
    }
  }
  EXPECT_GT(tokens, 0);
  EXPECT_EQ(stats.generated_tokens, tokens);
}

}  // namespace
}  // namespace millrace
