#include <gtest/gtest.h>

#include "engine/engine.h"
#include "tests/fixtures/engine/scripted_model.h"

// How many steps of 128 rows a prompt waits behind others for its first token.

namespace millrace {
namespace {

constexpr int32_t kLetters = 5;
constexpr int64_t kLong = 1000, kShort = 5;
constexpr int64_t kByArrival = 1 << 20;  // no prompt is long

class PromptSharing : public testing::Test {
 protected:
  void open(int64_t long_prefill_rows) {
    engine_.reset();
    sinks_.clear();
    executor_ =
        std::make_unique<ScriptedExecutor>(ScriptedModel{.vocab = kLetters}, 16, 1000, 128, 64);
    EngineOptions options;
    options.card.context_max = 4000;
    options.card.vocab_size = kLetters;
    options.rows_max = 128;
    options.long_prefill_rows = long_prefill_rows;
    engine_ = *Engine::create(options, *executor_, *tokenizer_, clock_);
    steps_ = 0;
  }

  // No two begin alike.
  void send(int64_t prompt) {
    Request request;
    for (int64_t i = 0, digits = std::ssize(sinks_); i < prompt; ++i, digits /= 4) {
      request.prompt.push_back(static_cast<TokenId>(1 + digits % 4));
    }
    request.stop.tokens_max = 1;
    sinks_.push_back(std::make_shared<Notebook>());
    ASSERT_TRUE(engine_->submit(request, sinks_.back()).ok());
  }

  void step() {
    ASSERT_TRUE(engine_->step().ok());
    ++steps_;
  }

  // Steps from now on until the request that was sent as the i-th has its token.
  int64_t steps_until(size_t i) {
    const int64_t before = steps_;
    while (sinks_[i]->events.empty()) step();
    return steps_ - before;
  }

  std::unique_ptr<const Tokenizer> tokenizer_ = letters(kLetters);
  ManualClock clock_;
  std::unique_ptr<ScriptedExecutor> executor_;
  std::unique_ptr<Engine> engine_;
  std::vector<std::shared_ptr<Notebook>> sinks_;
  int64_t steps_ = 0;
};

TEST_F(PromptSharing, AShortPromptDoesNotWaitForALongOne) {
  for (const auto& [long_prefill_rows, waits] :
       {std::pair<int64_t, int64_t>(kByArrival, 7), {0, 1}}) {
    open(long_prefill_rows);
    send(kLong);
    step();
    send(kShort);
    EXPECT_EQ(steps_until(1), waits);
    steps_until(0);
    EXPECT_EQ(steps_, 8);  // 1005 rows, 128 a step: sharing costs none
    EXPECT_EQ(executor_->rows_computed(), kLong + kShort);
  }
}

TEST_F(PromptSharing, NorForFour) {
  for (const auto& [long_prefill_rows, waits] :
       {std::pair<int64_t, int64_t>(kByArrival, 31), {0, 1}}) {
    open(long_prefill_rows);
    for (int i = 0; i < 4; ++i) send(kLong);
    step();
    send(kShort);
    EXPECT_EQ(steps_until(4), waits);
    steps_until(3);
    EXPECT_EQ(steps_, 32);
  }
}

TEST_F(PromptSharing, FiftyShortPromptsGoByArrivalAndLeaveALongOneHalf) {
  open(0);
  send(kLong);
  step();
  for (int i = 0; i < 50; ++i) send(kShort);
  EXPECT_EQ(steps_until(12), 1);
  EXPECT_EQ(steps_until(50), 3);
  for (size_t i = 1; i <= 50; ++i) EXPECT_FALSE(sinks_[i]->events.empty());
  steps_until(0);
  EXPECT_EQ(steps_, 10);
}

TEST_F(PromptSharing, ShortPromptsWithoutEndCostALongOneHalf) {
  open(0);
  send(kLong);
  while (sinks_[0]->events.empty()) {
    for (int i = 0; i < 13; ++i) send(kShort);
    step();
  }
  EXPECT_EQ(steps_, 16);
}

TEST_F(PromptSharing, APromptOfMiddlingLengthGetsHalfToo) {
  open(0);
  send(kLong);
  step();
  send(300);
  send(kShort);
  EXPECT_EQ(steps_until(2), 1);
  EXPECT_EQ(steps_until(1), 4);
}

// What is in the cache already does not make a prompt long.
TEST_F(PromptSharing, ALongConversationInTheCacheIsShort) {
  open(0);
  send(900);
  steps_until(0);
  send(kLong);
  step();
  Request again;
  again.prompt.assign(900, 1);
  again.stop.tokens_max = 1;
  sinks_.push_back(std::make_shared<Notebook>());
  ASSERT_TRUE(engine_->submit(again, sinks_.back()).ok());
  EXPECT_EQ(steps_until(2), 1);
}

}  // namespace
}  // namespace millrace
