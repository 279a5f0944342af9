#include "exec/perplexity.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "exec/cache_plan.h"
#include "exec/fixed_sequences.h"
#include "models/random.h"
#include "tests/fixtures/exec/logits_of.h"

namespace millrace {
namespace {

constexpr int32_t kContext = 20;

std::vector<TokenId> tokens_of(int32_t count, int64_t vocab) {
  std::vector<TokenId> tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back(static_cast<TokenId>(i * i % vocab));
  return tokens;
}

std::unique_ptr<LocalExecutor> executor_for(const Model& model, LanePool& lanes, int32_t rows_max) {
  LocalOptions options;
  options.units = FixedSequences::units(
      plan_cache(model.spec(), options.kv_dtype, options.block_tokens).groups, 1, kContext);
  options.rows_max = rows_max;
  options.sequences_max = 1;
  return LocalExecutor::create(model, lanes, options).value();
}

TEST(Perplexity, IsThatOfTheLogits) {
  const RandomModelShape shape;
  LanePool lanes(2);
  const auto model = load_random_model(shape, {}, lanes).value();
  PerplexityOrder order;
  order.tokens = tokens_of(2 * kContext + 5, shape.vocab);
  order.context = kContext;
  order.first_token = 1;

  const auto whole = executor_for(*model, lanes, kContext);
  FixedSequences sequences(whole->capacity(), kContext);
  double sum = 0;
  for (int32_t chunk = 0; chunk < 2; ++chunk) {
    std::vector<TokenId> tokens(order.tokens.begin() + chunk * kContext,
                                order.tokens.begin() + (chunk + 1) * kContext);
    tokens[0] = 1;
    sequences.clear();
    sequences.add(0, 0, tokens, SliceWants::kAll);
    const std::vector<float> logits = logits_of(*whole, sequences.batch());
    for (int32_t i = kContext / 2; i + 1 < kContext; ++i) {
      const auto row = std::span(logits).subspan(static_cast<size_t>(i * shape.vocab),
                                                 static_cast<size_t>(shape.vocab));
      const float max = *std::ranges::max_element(row);
      const auto target = static_cast<size_t>(tokens[static_cast<size_t>(i) + 1]);
      double weight = 0;
      for (const float logit : row) weight += std::exp(double{logit} - max);
      sum += std::log(weight) + max - row[target];
    }
  }
  for (const int32_t rows_max : {kContext, 3}) {
    const auto executor = executor_for(*model, lanes, rows_max);
    const auto result = measure_perplexity(*executor, order);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->tokens, 18);
    EXPECT_EQ(result->chunks, 2);
    EXPECT_NEAR(result->value, std::exp(sum / 18), 1e-5 * result->value);
  }
}

TEST(Perplexity, ATextShorterThanAChunkIsRefused) {
  const RandomModelShape shape;
  LanePool lanes(1);
  const auto model = load_random_model(shape, {}, lanes).value();
  const auto executor = executor_for(*model, lanes, kContext);
  PerplexityOrder order;
  order.tokens = tokens_of(kContext - 1, shape.vocab);
  order.context = kContext;
  EXPECT_EQ(message_of(measure_perplexity(*executor, order).status()),
            "the text has 19 tokens, fewer than one chunk of 20");
}

// An executor whose every row is at fault.
class FaultyExecutor final : public Executor {
 public:
  explicit FaultyExecutor(const Capacity& capacity) : capacity_(capacity) {}
  const Capacity& capacity() const override { return capacity_; }
  absl::Status start(const Batch&) override { return absl::OkStatus(); }
  absl::Status finish(const DrawOrders& orders, StepOutput& output) override {
    output.clear();
    output.scored.resize(orders.scored.size());
    output.drawn.assign(orders.draws.size(), {.error = RowError::kNotANumber});
    return absl::OkStatus();
  }

 private:
  Capacity capacity_;
};

TEST(Perplexity, RowsThatAreNotNumbersAreRefused) {
  const RandomModelShape shape;
  LanePool lanes(1);
  const auto model = load_random_model(shape, {}, lanes).value();
  FaultyExecutor executor(executor_for(*model, lanes, kContext)->capacity());
  PerplexityOrder order;
  order.tokens = tokens_of(kContext, shape.vocab);
  order.context = kContext;
  EXPECT_EQ(message_of(measure_perplexity(executor, order).status()),
            "chunk 1: the logits of token 10 are not all numbers");
}

}  // namespace
}  // namespace millrace
