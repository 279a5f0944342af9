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
