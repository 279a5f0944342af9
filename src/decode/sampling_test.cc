#include "decode/sampling.h"

#include <limits>

#include <gtest/gtest.h>

#include "decode/all.h"

namespace millrace {
namespace {

constexpr TokenId kEnd = 0, kA = 1, kB = 2;
constexpr float kNever = -std::numeric_limits<float>::infinity();

std::unique_ptr<const Tokenizer> end_a_b() {
  Metadata metadata;
  metadata.set_string("tokenizer.ggml.model", "gpt2");
  metadata.set_string("tokenizer.ggml.pre", "gpt-2");
  metadata.set_strings("tokenizer.ggml.tokens", std::vector<std::string>{"</s>", "a", "b"});
  metadata.set_integers("tokenizer.ggml.token_type", MetaType::kI32, {3, 1, 1});
  metadata.set_strings("tokenizer.ggml.merges", {});
  metadata.set_integer("tokenizer.ggml.eos_token_id", MetaType::kU32, kEnd);
  return *Tokenizer::create(metadata);
}

// One request, computed whole in each step; the test is the executor.
class SamplingTest : public testing::Test {
 protected:
  void open(Request request) {
    request_ = std::make_shared<const Request>(std::move(request));
    sequences_.resize(static_cast<size_t>(request_->choices));
    for (size_t i = 0; i < sequences_.size(); ++i) {
      sequences_[i].id = {static_cast<int64_t>(i)};
      sequences_[i].choice = static_cast<int32_t>(i);
      sequences_[i].request = request_;
      sequences_[i].choices = sequences_;
    }
    sequences_[0].tokens = request_->prompt;
  }

  // What is asked about all pending rows of choice 0.
  const DrawOrders& choose() {
    flight_.clear();
    flight_.plan.slices = {{&sequences_[0], static_cast<int32_t>(sequences_[0].pending())}};
    flatten(flight_.plan, flight_.batch);
    strategies_.choose(flight_);
    return flight_.orders;
  }

  // Answers each row with a token.
  const Verdict& accept(const std::vector<TokenId>& tokens, RowError error = RowError::kNone) {
    for (const TokenId token : tokens) {
      Drawn drawn;
      drawn.token = token;
      drawn.error = error;
      flight_.output.drawn.push_back(drawn);
    }
    strategies_.accept(flight_);
    return flight_.verdict;
  }

  Outcome after(TokenId token) {
    choose();
    return accept({token}).outcomes[0];
  }

  std::unique_ptr<const Tokenizer> tokenizer_ = end_a_b();
  ManualClock clock_;
  CostModel cost_;
  Strategies strategies_{*tokenizer_, Drafting({}, {}, cost_, clock_)};
  std::shared_ptr<const Request> request_;
  std::vector<Sequence> sequences_;
  Flight flight_;
};

Request request_of(std::vector<TokenId> prompt, int64_t tokens_max = 100) {
  Request request;
  request.prompt = std::move(prompt);
  request.stop.tokens_max = tokens_max;
  return request;
}

TEST_F(SamplingTest, OrdersTheLastRowAsTheRequestSays) {
  Request request = request_of({kA, kB});
  request.sampling = {.temperature = 0.5F,
                      .top_k = 3,
                      .top_p = 0.9F,
                      .min_p = 0.1F,
                      .typical = 0.8F,
                      .logit_bias = {{kB, 2.0F}},
                      .seed = 77};
  request.logprobs = 4;
  open(std::move(request));
  const DrawOrders& orders = choose();
  ASSERT_EQ(orders.draws.size(), 1U);
  const DrawOrder& row = orders.draws[0];
  EXPECT_EQ(row.want, 0);
  EXPECT_EQ(row.temperature, 0.5F);
  EXPECT_EQ(row.top_k, 3);
  EXPECT_EQ(row.top_p, 0.9F);
  EXPECT_EQ(row.min_p, 0.1F);
  EXPECT_EQ(row.typical, 0.8F);
  EXPECT_EQ(row.seed, 77U);
  EXPECT_EQ(row.logprobs, 4);
  ASSERT_EQ(row.bias.size(), 1);
  EXPECT_EQ(orders.bias[0].token, kB);
  EXPECT_EQ(row.counts.size(), 0);

  const Verdict& verdict = accept({kA});
  EXPECT_EQ(sequences_[0].tokens, (std::vector<TokenId>{kA, kB, kA}));
  EXPECT_EQ(sequences_[0].computed, 2);
  EXPECT_EQ(verdict.outcomes[0].finish, FinishReason::kNone);
  EXPECT_EQ(verdict.draws, std::vector<int32_t>{0});
}

TEST_F(SamplingTest, ForbidsTheLastTokenOfABannedRun) {
  Request request = request_of({kA});
  request.sampling.banned = {{kB}, {kA, kA}};
  open(std::move(request));
  const auto forbidden = [this] {
    std::vector<TokenId> tokens;
    for (const TokenBias& bias : choose().bias) {
      EXPECT_EQ(bias.bias, kNever);
      tokens.push_back(bias.token);
    }
    return tokens;
  };
  EXPECT_EQ(forbidden(), std::vector<TokenId>{kB});  // the prompt begins no run
  accept({kA});
  EXPECT_EQ(forbidden(), (std::vector<TokenId>{kB, kA}));
}

TEST_F(SamplingTest, AllowsNothingButWhatIsAllowed) {
  Request request = request_of({kA});
  request.choices = 2;
  request.sampling.allowed = {kEnd, kB};
  open(std::move(request));
  const DrawOrders& orders = choose();
  ASSERT_EQ(orders.draws.size(), 2U);
  for (const DrawOrder& row : orders.draws) {
    ASSERT_EQ(row.mask.size(), 1);
    EXPECT_EQ(orders.mask[static_cast<size_t>(row.mask.begin)], 0b101U);
  }
}

TEST_F(SamplingTest, DrawsEveryChoiceFromOnePromptPass) {
  Request request = request_of({kA, kB});
  request.choices = 3;
  open(std::move(request));
  const DrawOrders& orders = choose();
  ASSERT_EQ(orders.draws.size(), 3U);
  for (int32_t i = 0; i < 3; ++i) EXPECT_EQ(orders.draws[static_cast<size_t>(i)].choice, i);
  const Verdict& verdict = accept({kA, kB, kEnd});
  ASSERT_EQ(verdict.outcomes.size(), 3U);
  EXPECT_EQ(verdict.outcomes[2].finish, FinishReason::kStop);
  ASSERT_EQ(verdict.forks.size(), 2U);
  EXPECT_EQ(verdict.forks[1].parent, SeqId{0});
  EXPECT_EQ(verdict.forks[1].child, SeqId{2});
  EXPECT_EQ(sequences_[1].tokens, (std::vector<TokenId>{kA, kB, kB}));
  EXPECT_EQ(sequences_[1].computed, 2);
  EXPECT_EQ(choose().draws.size(), 1U);  // they go their own ways
}

TEST_F(SamplingTest, CountsForPenalties) {
  Request request = request_of({kA, kA});
  request.sampling.repetition = 1.2F;
  open(std::move(request));
  const DrawOrders& orders = choose();
  ASSERT_EQ(orders.counts.size(), 1U);
  EXPECT_EQ(orders.counts[0].in_prompt, 2);
  accept({kB});
  choose();
  ASSERT_EQ(orders.counts.size(), 2U);
  EXPECT_EQ(orders.counts[1].token, kB);
  EXPECT_EQ(orders.counts[1].in_output, 1);
}

TEST_F(SamplingTest, FrequencyLooksAtTheOutputAlone) {
  Request request = request_of({kA, kA});
  request.sampling.frequency = 0.5F;
  open(std::move(request));
  EXPECT_TRUE(choose().counts.empty());
}

TEST_F(SamplingTest, ForbidsEndsBeforeTheLeastLength) {
  Request request = request_of({kA});
  request.stop.tokens_min = 1;
  request.stop.tokens = {kB};
  open(std::move(request));
  const DrawOrders& orders = choose();
  ASSERT_EQ(orders.bias.size(), 2U);
  EXPECT_EQ(orders.bias[0].token, kEnd);
  EXPECT_EQ(orders.bias[1].token, kB);
  EXPECT_EQ(orders.bias[1].bias, kNever);
  accept({kA});
  EXPECT_TRUE(choose().bias.empty());
  EXPECT_EQ(accept({kB}).outcomes[0].finish, FinishReason::kStop);
}

TEST_F(SamplingTest, IgnoresEndsOfGenerationWhereAsked) {
  Request request = request_of({kA}, 2);
  request.stop.ignore_eos = true;
  open(std::move(request));
  EXPECT_EQ(after(kEnd).finish, FinishReason::kNone);
  EXPECT_EQ(after(kEnd).finish, FinishReason::kLength);
}

TEST_F(SamplingTest, StopsAtAStringAcrossTokens) {
  Request request = request_of({kA}, 3);
  request.stop.strings = {"bbbb", "ab"};
  open(std::move(request));
  EXPECT_EQ(after(kA).stop_string, -1);
  EXPECT_EQ(after(kA).stop_string, -1);
  const Outcome outcome = after(kB);
  EXPECT_EQ(outcome.stop_string, 1);
  EXPECT_EQ(outcome.finish, FinishReason::kStop);  // though the length is reached, too
}

TEST_F(SamplingTest, FindsStringsInSpecialTokensWhereTheyAreText) {
  for (const bool skips : {true, false}) {
    Request request = request_of({kA});
    request.stop.strings = {"a</s>"};
    request.stop.skip_special = skips;
    request.stop.ignore_eos = true;
    open(std::move(request));
    EXPECT_EQ(after(kA).finish, FinishReason::kNone);
    EXPECT_EQ(after(kEnd).stop_string, skips ? -1 : 0);
    for (const Sequence& sequence : sequences_) strategies_.forget(sequence);
    sequences_.clear();
  }
}

TEST_F(SamplingTest, ChoicesStopEachByItself) {
  Request request = request_of({kA});
  request.choices = 2;
  request.stop.strings = {"ab"};
  open(std::move(request));
  choose();
  accept({kA, kB});
  EXPECT_EQ(after(kB).stop_string, 0);  // of the first; the second has no "a" to go on with
  std::swap(sequences_[0], sequences_[1]);
  EXPECT_EQ(after(kB).stop_string, -1);
  EXPECT_EQ(after(kA).stop_string, -1);
  EXPECT_EQ(after(kB).stop_string, 0);
}

TEST_F(SamplingTest, LooksForStringsAfterTheLeastLength) {
  Request request = request_of({kA});
  request.stop.strings = {"ab"};
  request.stop.tokens_min = 2;
  open(std::move(request));
  for (const TokenId token : {kA, kB, kB, kA}) {
    EXPECT_EQ(after(token).finish, FinishReason::kNone);
  }
  EXPECT_EQ(after(kB).finish, FinishReason::kStop);
}

TEST_F(SamplingTest, ScoresThePromptOnce) {
  Request request = request_of({kA, kB, kA});
  request.prompt_logprobs = 2;
  open(std::move(request));
  const DrawOrders& orders = choose();
  ASSERT_EQ(orders.draws.size(), 3U);
  EXPECT_EQ(orders.draws[0].kind, DrawKind::kScore);
  EXPECT_EQ(orders.draws[0].logprobs, 2);
  EXPECT_EQ(orders.scored, (std::vector<TokenId>{kB, kA}));
  EXPECT_EQ(orders.draws[2].kind, DrawKind::kDraw);
  accept({0, 0, kA});
  EXPECT_EQ(sequences_[0].prompt_scored, 2);
  sequences_[0].computed = 0;  // preempted
  EXPECT_EQ(choose().draws.size(), 1U);
}

TEST_F(SamplingTest, ABrokenRowCommitsNothing) {
  Request request = request_of({kA});
  request.choices = 2;
  open(std::move(request));
  choose();
  const Verdict& verdict = accept({kA, kA}, RowError::kNotANumber);
  ASSERT_EQ(verdict.outcomes.size(), 1U);
  EXPECT_EQ(verdict.outcomes[0].error, RowError::kNotANumber);
  EXPECT_EQ(verdict.outcomes[0].draws.size(), 0);
  EXPECT_TRUE(verdict.forks.empty());
}

}  // namespace
}  // namespace millrace
