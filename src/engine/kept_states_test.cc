#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "tests/fixtures/engine/scripted_model.h"

// What an engine computes again of a model that keeps states.

namespace millrace {
namespace {

class KeptStates : public testing::Test {
 protected:
  void open(int64_t state_snapshot_tokens) {
    engine_.reset();
    const ScriptedModel model = {
        .groups = {{.units = 100}, {.kind = KvKind::kState, .units = 20}, {.window = 40}}};
    executor_ = std::make_unique<ScriptedExecutor>(model, 16, 50, 128, 4);
    EngineOptions options;
    options.card.context_max = 1000;
    options.card.vocab_size = model.vocab;
    options.rows_max = 128;
    options.state_snapshot_tokens = state_snapshot_tokens;
    engine_ = *Engine::create(options, *executor_, *tokenizer_, clock_);
  }

  // What is answered to a prompt, and how many rows that took.
  std::pair<std::vector<TokenId>, int64_t> ask(const std::vector<TokenId>& prompt, int64_t tokens) {
    const int64_t before = executor_->rows_computed();
    Request request;
    request.prompt = prompt;
    request.stop.tokens_max = tokens;
    request.stop.ignore_eos = true;
    const auto sink = std::make_shared<Notebook>();
    EXPECT_TRUE(engine_->submit(request, sink).ok());
    while (!engine_->idle()) EXPECT_TRUE(engine_->step().ok());
    std::vector<TokenId> answer;
    for (const TokenEvent& event : sink->events) answer.push_back(event.token);
    return {answer, executor_->rows_computed() - before};
  }

  std::unique_ptr<const Tokenizer> tokenizer_ = letters(4);
  ManualClock clock_;
  std::unique_ptr<ScriptedExecutor> executor_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(KeptStates, AreAsManyAsTheOptionSays) {
  for (const auto& [every, states] : {std::pair<int64_t, int64_t>(0, 1), {20, 3}, {64, 2}}) {
    open(every);
    ask(std::vector<TokenId>(100, 1), 1);
    EXPECT_EQ(executor_->states_saved(), states) << every;
  }
}

TEST_F(KeptStates, APromptIsNotComputedTwice) {
  open(0);
  const std::vector<TokenId> prompt(100, 1);
  const auto [answer, rows] = ask(prompt, 1);
  EXPECT_EQ(rows, 100);
  EXPECT_EQ(ask(prompt, 1), std::pair(answer, int64_t{4}));
}

TEST_F(KeptStates, TheNextTurnBeginsWhereTheAnswerEnded) {
  open(0);
  std::vector<TokenId> turn(100, 1);
  const auto answer = ask(turn, 70).first;
  turn.insert(turn.end(), answer.begin(), answer.end());
  turn.push_back(2);
  EXPECT_EQ(ask(turn, 1).second, 171 - 160);
}

}  // namespace
}  // namespace millrace
