#include "exec/softmax.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace millrace {
namespace {

constexpr double kLargest = 1 - 0x1p-53;  // the largest fraction of 53 bits
const float kImpossible = std::exp(-80.0F);

TEST(IndexAt, TakesTheFirstThatPassesTheFraction) {
  const std::vector<float> weights = {0, 1, 0, 2, 1, 0};
  EXPECT_EQ(index_at(weights, 0), 1);
  EXPECT_EQ(index_at(weights, 0.2499), 1);
  EXPECT_EQ(index_at(weights, 0.25), 3);
  EXPECT_EQ(index_at(weights, 0.7499), 3);
  EXPECT_EQ(index_at(weights, 0.75), 4);
  EXPECT_EQ(index_at(weights, kLargest), 4);
}

// The exponent's rounding grows with its size: a weight's error in units of float32's rounding,
// too.
TEST(Weighing, IsTheExponentialOfTheDistance) {
  for (const float temperature : {0.3F, 1.0F, 2.5F}) {
    const Weighing weighing(3, temperature);
    for (int i = 0; i < 40000; ++i) {
      const float logit = 3 - temperature * static_cast<float>(i) * 0x1.1p-9F;
      const double nats = (double{logit} - 3) / temperature;
      const double weight = weighing(all4(logit))[0];
      if (nats < -86.98) {
        ASSERT_TRUE(weight == 0 || nats > -87) << nats;
        ASSERT_EQ(weighing.vanishes(logit), weight == 0) << nats;
      } else {
        ASSERT_NEAR(weight / std::exp(nats), 1, 0x1p-23 * (1.5 - 1.5 * nats)) << nats;
        ASSERT_FALSE(weighing.vanishes(logit));
      }
    }
    EXPECT_EQ(weighing(all4(3))[0], 1);
  }
}

TEST(Weighing, NothingIsLeftOfTheVeryUnlikely) {
  for (const float temperature : {1e-45F, 1e-38F, 0.01F, 1.0F}) {
    const Weighing weighing(10, temperature);
    for (const float logit : {-78.0F, -1e30F, -3e38F, -INFINITY}) {
      EXPECT_EQ(weighing(all4(logit))[0], 0) << temperature << " " << logit;
    }
    EXPECT_EQ(weighing(all4(10))[0], 1) << temperature;
  }
}

// Whether they are told their weights or only the sums of blocks of them.
TEST(IndexAt, FindsTheSameFromSumsOfBlocks) {
  constexpr size_t kBlock = 64;
  std::vector<float> weights(kBlock * 20);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = i * 7919 % 97 < 9 ? 1 : 0;
  std::vector<double> sums;
  for (size_t i = 0; i < weights.size(); i += kBlock) {
    sums.push_back(sum_of(std::span(weights).subspan(i, kBlock)));
  }
  for (int i = 0; i < 1000; ++i) {
    const double fraction = i / 1000.0;
    const int32_t index = index_at(sums, kBlock, fraction, [&](size_t block) {
      return std::span<const float>(weights).subspan(block * kBlock, kBlock);
    });
    ASSERT_EQ(index, index_at(weights, fraction)) << fraction;
  }
}

// Wherever they stand: alone in a stretch of their own, before or behind what can be drawn.
TEST(IndexAt, NeverTakesWhatIsTooUnlikelyToTell) {
  for (const size_t at : {0U, 3U, 255U, 256U, 300U, 700U, 999U}) {
    for (const float other : {0.0F, 1e-40F, kImpossible}) {
      std::vector<float> weights(1000, other);
      weights[at] = 1;
      for (const double fraction : {0.0, 0x1p-53, 0x1p-25, 0.5, kLargest}) {
        ASSERT_EQ(index_at(weights, fraction), static_cast<int32_t>(at)) << other << fraction;
      }
    }
  }
}

// A stretch's sum four at a time is more than its sum one by one: a fraction between the two is
// passed by none of them.
TEST(IndexAt, RoundingDoesNotReachForTheLast) {
  int between = 0;
  for (int seed = 0; seed < 4000; ++seed) {
    std::vector<float> weights(200);
    uint32_t state = static_cast<uint32_t>(seed) * 2654435761U + 1;
    for (float& weight : weights) {
      state = state * 1664525U + 1013904223U;
      weight = std::ldexp(static_cast<float>(state >> 8), -static_cast<int>(state % 30));
    }
    double one_by_one = 0;
    for (const float weight : weights) one_by_one += weight;
    weights.push_back(static_cast<float>(one_by_one * 1e-30));
    weights.push_back(0);
    if (kLargest * sum_of(weights) >= one_by_one) ++between;
    ASSERT_LT(index_at(weights, kLargest), 200) << seed;
  }
  EXPECT_GT(between, 0);
}

// Together they are enough to pass the fraction, each alone does not move the sum before them.
TEST(IndexAt, ManySmallWeightsCountTogether) {
  std::vector<float> weights(512, 0x1p-54F);
  for (size_t i = 0; i < 256; ++i) weights[i] = 1.0F / 256;
  EXPECT_GE(index_at(weights, kLargest), 256);
  EXPECT_EQ(index_at(weights, 0.5), 128);
}

// What is likely is drawn at its own share of the fractions, up to the resolution.
TEST(IndexAt, UnlikelyIsNotImpossible) {
  const std::vector<float> weights = {0x1p-50F, 1, 0x1p-50F};
  EXPECT_EQ(index_at(weights, 0), 0);
  EXPECT_EQ(index_at(weights, 0x1p-49), 1);
  EXPECT_EQ(index_at(weights, kLargest), 2);
}

}  // namespace
}  // namespace millrace
