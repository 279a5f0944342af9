#include "exec/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/fixtures/exec/naive_sampler.h"

namespace millrace {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Rows of logits with their orders; the answer stands in `output`.
struct Round {
  int64_t vocab;
  std::vector<float> logits = {};  // [wants, vocab]
  std::vector<int32_t> positions = {};
  DrawOrders orders = {};
  StepOutput output = {};
  int64_t wants_at_once = 64;

  DrawOrder& add(const std::vector<float>& row, int32_t position) {
    logits.insert(logits.end(), row.begin(), row.end());
    positions.push_back(position);
    DrawOrder& order = orders.draws.emplace_back();
    order.want = static_cast<int32_t>(positions.size()) - 1;
    return order;
  }
  void run(int lanes = 1) {
    Sampler sampler(vocab, lanes);
    sampler.prepare(orders, output);
    LanePool pool(lanes);
    // Some wants at a time, as the head makes them.
    for (int64_t first = 0; first < std::ssize(positions); first += wants_at_once) {
      const int64_t count = std::min<int64_t>(wants_at_once, std::ssize(positions) - first);
      const WantedLogits some = {static_cast<int32_t>(first),
                                 {logits.data() + first * vocab, count, vocab, vocab}};
      pool.run([&](Lane& lane) { sampler.sample(lane, some, positions, orders, output); });
    }
  }
};

std::vector<float> random_logits(int64_t vocab, uint32_t seed, float spread = 3) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(static_cast<size_t>(vocab));
  for (float& logit : logits) logit = normal(random);
  return logits;
}

TokenId drawn(const std::vector<float>& logits, const DrawOrder& order, int32_t position) {
  Round round{.vocab = static_cast<int64_t>(logits.size())};
  round.add(logits, position) = order;
  round.orders.draws[0].want = 0;
  round.run();
  EXPECT_EQ(round.output.drawn[0].error, RowError::kNone);
  return round.output.drawn[0].token;
}

// A few settings of everything that narrows the choice.
void set(DrawOrder& order, int i) {
  order.temperature = i % 3 == 0 ? 1.0F : i % 3 == 1 ? 0.6F : 1.7F;
  order.top_k = i % 4 == 1 ? 10 : i % 4 == 3 ? 60 : 0;
  order.top_p = i % 5 == 2 ? 0.9F : i % 5 == 4 ? 0.3F : 1.0F;
  order.typical = i % 7 == 3 ? 0.7F : i % 7 == 5 ? 0.95F : 1.0F;
  order.min_p = i % 6 == 5 ? 0.1F : 0.0F;
  order.seed = 1234;
}

// Random penalties, biases and, for every third row, a mask.
void disturb(Round& round, DrawOrder& order, std::mt19937& random, int i) {
  const auto vocab = static_cast<uint64_t>(round.vocab);
  DrawOrders& orders = round.orders;
  order.repetition = 1.3F;
  order.presence = 0.4F;
  order.frequency = 0.2F;
  order.counts.begin = static_cast<int32_t>(orders.counts.size());
  order.bias.begin = static_cast<int32_t>(orders.bias.size());
  for (uint64_t token = random() % 5; token < vocab; token += 1 + random() % 40) {
    const auto in_output = static_cast<int32_t>(random() % 3);
    orders.counts.push_back({static_cast<TokenId>(token), 1, in_output});
    const float bias = random() % 8 == 0 ? -kInfinity : static_cast<float>(random() % 5) - 2;
    orders.bias.push_back({static_cast<TokenId>(token), bias});
  }
  order.counts.end = static_cast<int32_t>(orders.counts.size());
  order.bias.end = static_cast<int32_t>(orders.bias.size());
  if (i % 3 != 0) return;
  order.mask.begin = static_cast<int32_t>(orders.mask.size());
  for (uint32_t word = 0; word < (vocab + 31) / 32; ++word) {
    orders.mask.push_back(static_cast<uint32_t>(random() | 1U));
  }
  order.mask.end = static_cast<int32_t>(orders.mask.size());
}

TEST(Sampler, DrawsWhatTheNaiveSamplerDraws) {
  std::mt19937 random(5);
  int differing = 0;
  for (const int64_t vocab : {7, 33, 300, 1500}) {
    Round round{.vocab = vocab};
    std::vector<std::vector<float>> rows;
    for (int i = 0; i < 210; ++i) {
      rows.push_back(random_logits(vocab, static_cast<uint32_t>(i)));
      DrawOrder& order = round.add(rows.back(), i);
      set(order, i);
      if (i % 2 == 1) disturb(round, order, random, i);
    }
    round.run(2);
    for (size_t i = 0; i < rows.size(); ++i) {
      const DrawOrder& order = round.orders.draws[i];
      const auto candidates = naive_candidates(rows[i], order, round.orders);
      const double uniform = sampling_uniform(order.seed, order.choice, round.positions[i]);
      const Drawn& drawn = round.output.drawn[i];
      ASSERT_EQ(drawn.error, RowError::kNone);
      const bool kept = std::any_of(candidates.begin(), candidates.end(),
                                    [&](const Candidate& c) { return c.token == drawn.token; });
      ASSERT_TRUE(kept) << "vocab " << vocab << " row " << i << " token " << drawn.token;
      differing += drawn.token != naive_draw(candidates, uniform) ? 1 : 0;
    }
  }
  // float32 weights move a border between two tokens by about 1e-6; 840 draws may meet one.
  EXPECT_LE(differing, 1);
}

template <typename T>
T one_of(std::mt19937& random, const std::vector<T>& values) {
  return values[random() % values.size()];
}

// Sharp, flat, with many ties, mostly forbidden: whatever a model may say.
std::vector<float> any_logits(int64_t vocab, std::mt19937& random) {
  std::vector<float> logits = random_logits(vocab, static_cast<uint32_t>(random()),
                                            one_of<float>(random, {0.1F, 1, 3, 20}));
  const auto shape = random() % 4;
  for (float& logit : logits) {
    if (shape == 1) logit = std::round(logit * 2) / 2;
    if (shape == 2 && random() % 8 != 0) logit = -kInfinity;
    if (shape == 3 && random() % 50 == 0) logit += 15;
  }
  logits[random() % logits.size()] = 2;
  return logits;
}

DrawOrder any_order(int64_t vocab, std::mt19937& random) {
  const auto size = static_cast<int32_t>(vocab);
  DrawOrder order;
  order.temperature = one_of<float>(random, {0.02F, 0.7F, 1, 1, 3});
  order.top_k = one_of<int32_t>(random, {0, 0, 1, 7, 40, size - 1, size, size + 1});
  order.top_p = one_of<float>(random, {1, 1, 0.95F, 0.3F, 0});
  order.typical = one_of<float>(random, {1, 1, 1, 0.8F});
  order.min_p = one_of<float>(random, {0, 0, 0.05F, 1});
  order.logprobs = one_of<int32_t>(random, {-1, 0, 1, 5, 20, size - 1, size + 9});
  order.seed = random();
  return order;
}

// Words of a mask that allow nothing, all or some; it may end before the vocabulary.
void mask_some(Round& round, DrawOrder& order, std::mt19937& random) {
  order.mask.begin = static_cast<int32_t>(round.orders.mask.size());
  const int64_t words = (round.vocab + 31) / 32;
  for (int64_t i = 0; i <= static_cast<int64_t>(random() % static_cast<uint64_t>(words)); ++i) {
    round.orders.mask.push_back(
        one_of<uint32_t>(random, {0, 0, ~0U, ~0U, static_cast<uint32_t>(random())}));
  }
  order.mask.end = static_cast<int32_t>(round.orders.mask.size());
}

void expect_naive_top(const std::vector<float>& row, std::span<const TokenLogprob> top) {
  std::vector<TokenId> ids(row.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto logit = [&](TokenId id) { return row[static_cast<size_t>(id)]; };
  std::stable_sort(ids.begin(), ids.end(),
                   [&](TokenId a, TokenId b) { return logit(a) > logit(b); });
  double sum = 0;
  for (const float x : row) sum += std::exp(double{x} - logit(ids[0]));
  for (size_t i = 0; i < top.size(); ++i) {
    ASSERT_EQ(top[i].token, ids[i]) << i;
    const double expected = double{logit(ids[i])} - logit(ids[0]) - std::log(sum);
    if (std::isinf(expected)) {
      ASSERT_EQ(top[i].logprob, -kInfinity);
    } else {
      ASSERT_NEAR(top[i].logprob, expected, 1e-6 * (1 + std::fabs(expected)));
    }
  }
}

// What `round` says of its i-th row, against the naive sampler. Returns whether the draws differ.
bool differs_from_naive(const Round& round, const std::vector<float>& row, size_t i) {
  const DrawOrder& order = round.orders.draws[i];
  const Drawn& drawn = round.output.drawn[i];
  expect_naive_top(row, round.output.top.row(static_cast<int32_t>(i)));
  const auto candidates = naive_candidates(row, order, round.orders);
  if (candidates.empty()) {
    EXPECT_EQ(drawn.error, RowError::kNothingAllowed);
    return false;
  }
  EXPECT_EQ(drawn.error, RowError::kNone);
  const double uniform = sampling_uniform(order.seed, order.choice, round.positions[i]);
  return drawn.token != naive_draw(candidates, uniform);
}

Round any_round(int64_t vocab, int rows, std::mt19937& random) {
  Round round{.vocab = vocab};
  for (int i = 0; i < rows; ++i) {
    DrawOrder& order = round.add(any_logits(vocab, random), i);
    order = any_order(vocab, random);
    order.want = i;
    if (random() % 2 == 0) disturb(round, order, random, 1);
    if (random() % 3 == 0) mask_some(round, order, random);
  }
  return round;
}

TEST(Sampler, EveryMixtureOfOrdersDrawsWhatTheNaiveSamplerDraws) {
  std::mt19937 random(11);
  int differing = 0;
  for (const int64_t vocab : {1, 2, 63, 64, 65, 127, 130, 700, 4100}) {
    Round round = any_round(vocab, vocab < 1000 ? 400 : 60, random);
    round.run(2);
    for (size_t i = 0; i < round.positions.size(); ++i) {
      const auto row = round.logits.begin() + static_cast<int64_t>(i) * vocab;
      differing += differs_from_naive(round, {row, row + vocab}, i) ? 1 : 0;
    }
  }
  // float32 moves borders between tokens by about 1e-6; 3260 draws may meet one.
  EXPECT_LE(differing, 1);
}

TEST(Sampler, GreedyTakesTheLowestIdOfTheLikeliest) {
  std::vector<float> logits = random_logits(100, 1);
  logits[40] = logits[41] = logits[77] = 30;
  DrawOrder greedy;
  greedy.temperature = 0;
  EXPECT_EQ(drawn(logits, greedy, 3), 40);
  EXPECT_EQ(drawn({0.0F, -0.0F, 0.0F}, greedy, 3), 0);
}

TEST(Sampler, TiesAtACutGoToLowerIds) {
  const std::vector<float> logits(64, 1.5F);
  std::map<TokenId, int> seen;
  for (int32_t position = 0; position < 200; ++position) {
    DrawOrder order;
    order.top_k = 3;
    ++seen[drawn(logits, order, position)];
    order.top_k = 0;
    order.top_p = 2.5F / 64;
    ++seen[drawn(logits, order, position)];
    order.top_p = 1;
    order.typical = 2.5F / 64;
    ++seen[drawn(logits, order, position)];
  }
  EXPECT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen.rbegin()->first, 2);
}

TEST(Sampler, ATopPOfZeroKeepsTheLikeliestAlone) {
  const std::vector<float> logits = random_logits(500, 8, 0.1F);
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  DrawOrder order;
  order.top_p = 0;
  for (int32_t position = 0; position < 50; ++position) {
    EXPECT_EQ(drawn(logits, order, position), best);
  }
}

// At position 3 these seeds' random numbers have 24 leading zeros or ones: a token of probability
// e^-80 at either end of the vocabulary is not drawn.
TEST(Sampler, ImpossibleTokensAreNotDrawn) {
  std::vector<float> logits(600, -80.0F * 0.2F);
  logits[300] = 0;
  logits[301] = -0.1F;
  DrawOrder order;
  order.temperature = 0.2F;
  for (const uint64_t seed : {2812526U, 16449074U, 21731643U}) {
    order.seed = seed;
    EXPECT_LT(sampling_uniform(seed, 0, 3), 0x1p-24);
    EXPECT_EQ(drawn(logits, order, 3), 300) << seed;
  }
  for (const uint64_t seed : {6072302U, 19335524U, 25333382U}) {
    order.seed = seed;
    EXPECT_GE(sampling_uniform(seed, 0, 3), 1 - 0x1p-24);
    EXPECT_EQ(drawn(logits, order, 3), 301) << seed;
  }
}

TEST(Sampler, FrequenciesFollowTheProbabilities) {
  constexpr int kDraws = 20000;
  const std::vector<float> logits = {1.0F, 0.0F, 2.0F, -1.0F, 0.5F, -kInfinity, 1.5F};
  Round round{.vocab = 7};
  round.logits = logits;
  for (int i = 0; i < kDraws; ++i) {
    round.positions.push_back(i);
    DrawOrder& order = round.orders.draws.emplace_back();
    order.seed = 99;
    order.want = i;
  }
  for (int i = 1; i < kDraws; ++i) {
    round.logits.insert(round.logits.end(), logits.begin(), logits.end());
  }
  round.run();
  std::vector<double> counts(7);
  for (const Drawn& drawn : round.output.drawn) counts[static_cast<size_t>(drawn.token)] += 1;
  double chi_squared = 0;
  for (const Candidate& c : naive_candidates(logits, round.orders.draws[0], round.orders)) {
    const double expected = c.probability * kDraws;
    const double off = counts[static_cast<size_t>(c.token)] - expected;
    chi_squared += off * off / expected;
  }
  EXPECT_EQ(counts[5], 0);
  EXPECT_LT(chi_squared, 20.5);  // 5 degrees of freedom: passed by one seed in a thousand
}

TEST(Sampler, ReportsTheModelsOwnProbabilities) {
  constexpr int64_t kVocab = 777;
  std::vector<float> logits = random_logits(kVocab, 4);
  logits[500] = logits[30] = 12.5F;
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit});
  const auto logprob = [&](TokenId token) {
    return logits[static_cast<size_t>(token)] - std::log(sum);
  };
  Round round{.vocab = kVocab};
  round.orders.scored = {3, 500, 776};
  round.orders.bias = {{500, -5}, {30, -kInfinity}};
  DrawOrder& drawing = round.add(logits, 7);
  drawing.logprobs = 5;
  drawing.temperature = 0.3F;
  drawing.top_p = 0.5F;
  drawing.bias = {0, 2};
  DrawOrder& scoring = round.add(logits, 8);
  scoring.kind = DrawKind::kScore;
  scoring.logprobs = 1000;
  scoring.scored = {0, 3};
  round.add(logits, 9).logprobs = 0;
  round.add(logits, 10);
  round.run();

  const StepOutput& output = round.output;
  const float tolerance = 2e-6F * 16;  // float32 of numbers up to 16
  for (const size_t i : {0U, 2U}) {
    EXPECT_NEAR(output.drawn[i].logprob, logprob(output.drawn[i].token), tolerance);
  }
  EXPECT_EQ(output.drawn[3].logprob, 0);
  ASSERT_EQ(output.top.row(0).size(), 5U);
  ASSERT_EQ(output.top.row(1).size(), static_cast<size_t>(kVocab));
  EXPECT_EQ(output.top.row(2).size() + output.top.row(3).size(), 0U);
  EXPECT_EQ(output.top.row(0)[0].token, 30);
  EXPECT_EQ(output.top.row(0)[1].token, 500);
  const auto all = output.top.row(1);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_NEAR(all[i].logprob, logprob(all[i].token), tolerance);
    if (i > 0) {
      const bool after = all[i].logprob < all[i - 1].logprob ||
                         (logits[static_cast<size_t>(all[i].token)] <
                          logits[static_cast<size_t>(all[i - 1].token)]) ||
                         all[i].token > all[i - 1].token;
      EXPECT_TRUE(after);
    }
  }
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(output.scored[i], logprob(round.orders.scored[i]), tolerance);
  }
}

TEST(Sampler, AnErrorTouchesItsOwnRowOnly) {
  constexpr int64_t kVocab = 130;
  const std::vector<float> good = random_logits(kVocab, 6);
  std::vector<float> nan = good;
  nan[129] = NAN;
  std::vector<float> infinite = good;
  infinite[5] = kInfinity;
  const std::vector<float> nothing(kVocab, -kInfinity);
  Round round{.vocab = kVocab};
  round.orders.mask.assign(5, 0);
  for (const auto& row : {good, nan, good, infinite, good, nothing, good, good}) {
    DrawOrder& order = round.add(row, 11);
    order.logprobs = 3;
    order.temperature = round.positions.size() % 2 == 0 ? 0.0F : 1.0F;
  }
  round.orders.draws[6].mask = {0, 4};  // of 130 tokens 128, the others are not allowed either
  round.orders.draws[7].temperature = 1;
  round.run(2);
  const std::vector<Drawn>& drawn = round.output.drawn;
  EXPECT_EQ(drawn[1].error, RowError::kNotANumber);
  EXPECT_EQ(drawn[3].error, RowError::kNotANumber);
  EXPECT_EQ(drawn[5].error, RowError::kNothingAllowed);
  EXPECT_EQ(drawn[6].error, RowError::kNothingAllowed);
  for (const size_t i : {0U, 2U, 4U, 7U}) {
    EXPECT_EQ(drawn[i].error, RowError::kNone);
    EXPECT_EQ(drawn[i].token, drawn[0].token);
    EXPECT_EQ(drawn[i].logprob, drawn[0].logprob);
  }
}

TEST(Sampler, NoPenaltyMakesInfinities) {
  constexpr int64_t kVocab = 10;
  Round round{.vocab = kVocab};
  std::vector<float> logits(kVocab, 1);
  logits[0] = -1;
  for (const float repetition : {1e-40F, 1e-30F, 1e30F, 3e38F}) {
    DrawOrder& order = round.add(logits, 11);
    order.repetition = repetition;
    order.frequency = 2;
    order.counts.begin = static_cast<int32_t>(round.orders.counts.size());
    for (TokenId token = 0; token < kVocab; ++token) round.orders.counts.push_back({token, 1, 9});
    order.counts.end = static_cast<int32_t>(round.orders.counts.size());
  }
  round.run(2);
  for (const Drawn& drawn : round.output.drawn) EXPECT_EQ(drawn.error, RowError::kNone);
}

void expect_same(const StepOutput& output, const StepOutput& expected) {
  const auto bits = [](float x) { return std::bit_cast<uint32_t>(x); };
  for (size_t i = 0; i < expected.drawn.size(); ++i) {
    ASSERT_EQ(output.drawn[i].token, expected.drawn[i].token) << i;
    ASSERT_EQ(output.drawn[i].error, expected.drawn[i].error) << i;
    ASSERT_EQ(bits(output.drawn[i].logprob), bits(expected.drawn[i].logprob)) << i;
  }
  ASSERT_EQ(output.top.offsets, expected.top.offsets);
  for (size_t i = 0; i < expected.top.values.size(); ++i) {
    ASSERT_EQ(output.top.values[i].token, expected.top.values[i].token) << i;
    ASSERT_EQ(bits(output.top.values[i].logprob), bits(expected.top.values[i].logprob)) << i;
  }
  for (size_t i = 0; i < expected.scored.size(); ++i) {
    ASSERT_EQ(bits(output.scored[i]), bits(expected.scored[i])) << i;
  }
}

TEST(Sampler, ResultsDependOnTheRowAlone) {
  constexpr int64_t kVocab = 1000;
  std::mt19937 random(3);
  Round round = any_round(kVocab, 60, random);
  round.logits[5 * kVocab + 999] = NAN;
  round.logits[17 * kVocab + 64] = kInfinity;
  for (size_t i = 0; i < 60; i += 4) {
    round.orders.draws[i].kind = i % 8 == 0 ? DrawKind::kScore : DrawKind::kDraw;
    round.orders.draws[i].scored = {static_cast<int32_t>(i), static_cast<int32_t>(i) + 4};
    for (const TokenId token : {0, 63, 500, 999}) round.orders.scored.push_back(token);
  }
  round.run(1);
  const StepOutput expected = round.output;
  EXPECT_EQ(expected.drawn[5].error, RowError::kNotANumber);
  EXPECT_EQ(expected.drawn[17].error, RowError::kNotANumber);
  for (const int lanes : {1, 2, 3, 4}) {
    for (const int64_t wants : {1, 2, 7, 60}) {
      round.wants_at_once = wants;
      round.run(lanes);
      expect_same(round.output, expected);
    }
  }
}

// DrawOrders of one prompt name the same row and differ by their number.
TEST(Sampler, ChoicesOfOneRowDrawApart) {
  Round round{.vocab = 50};
  round.add(std::vector<float>(50, 0.0F), 4);
  round.orders.draws.resize(30);
  for (int32_t i = 0; i < 30; ++i) round.orders.draws[static_cast<size_t>(i)].choice = i;
  round.run(2);
  std::map<TokenId, int> seen;
  for (const Drawn& drawn : round.output.drawn) ++seen[drawn.token];
  EXPECT_GT(seen.size(), 10U);
}

}  // namespace
}  // namespace millrace
