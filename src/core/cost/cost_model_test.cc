#include "core/cost/cost_model.h"

#include <cmath>
#include <random>

#include <gtest/gtest.h>

namespace millrace {
namespace {

// A machine that reads weights for 30 ms, or computes 4 ms a row where that is longer.
double machine_ms(const StepShape& shape) {
  return std::max(30.0 + shape.rows, 4.0 * shape.rows) + 0.5 * shape.wants +
         1e-4 * static_cast<double>(shape.keys);
}

StepShape decode(int32_t rows, int64_t depth) {
  return {.rows = rows, .wants = rows, .keys = rows * depth};
}

TEST(Cost, AssumesThatEightRowsMoreCostAsMuchAsOne) {
  CostModel cost;
  EXPECT_FALSE(cost.knows());
  EXPECT_EQ(cost.ms(decode(1, 100)), 0);
  cost.observe(decode(1, 100), 30);
  EXPECT_NEAR(cost.ms(decode(1, 100)), 30, 1);
  EXPECT_NEAR(cost.ms(decode(9, 100)), 60, 5);
}

TEST(Cost, LearnsAMachine) {
  std::mt19937_64 dice(3);
  CostModel cost;
  for (int step = 0; step < 2000; ++step) {
    const auto rows = static_cast<int32_t>(dice() % 24 + 1);
    const StepShape shape = decode(rows, static_cast<int64_t>(dice() % 4000));
    cost.observe(shape, machine_ms(shape) * (0.95 + 0.1 * static_cast<double>(dice() % 100) / 99));
  }
  for (const int32_t rows : {1, 2, 4, 8, 16, 24}) {
    for (const int64_t depth : {10, 2000}) {
      const double ms = machine_ms(decode(rows, depth));
      EXPECT_NEAR(cost.ms(decode(rows, depth)), ms, 0.1 * ms) << rows << " rows at " << depth;
    }
  }
  EXPECT_LT(cost.error(), 0.1);
}

TEST(Cost, KeepsItsAssumptionWhereStepsWereAllAlike) {
  CostModel cost;
  for (int step = 0; step < 10000; ++step) cost.observe(decode(1, 100), 30);
  EXPECT_NEAR(cost.ms(decode(1, 100)), 30, 0.5);
  EXPECT_GT(cost.ms(decode(9, 100)), 40);
  EXPECT_LT(cost.ms(decode(9, 100)), 80);
}

// Rows that cost less the more there are, and then far more of them than ever.
TEST(Cost, IsANumberWhateverStepsTook) {
  CostModel cost;
  const auto observe = [&](int32_t rows, double ms, int times) {
    for (int i = 0; i < times; ++i) {
      cost.observe(decode(rows, 100), ms);
      for (const int32_t other : {1, 4, 8, 16, 100, 512, 100000}) {
        ASSERT_TRUE(std::isfinite(cost.ms(decode(other, 100)))) << other << " after " << rows;
        ASSERT_GE(cost.ms(decode(other, 100)), 0);
      }
      ASSERT_TRUE(std::isfinite(cost.error()));
    }
  };
  observe(20, 3000, 1);  // waited for weights
  observe(1, 30, 20);
  EXPECT_NEAR(cost.ms(decode(1, 100)), 30, 2);
  EXPECT_LT(cost.ms(decode(2, 100)), 40);
  observe(50, 200, 1);
  observe(512, 2000, 5);
  EXPECT_NEAR(cost.ms(decode(512, 100)), 2000, 200);
  observe(1, 1e-6, 3);
  observe(512, 1e6, 3);
}

TEST(Cost, ADisturbedStepCountsLittleAndALastingChangeIsFollowed) {
  CostModel cost;
  for (int step = 0; step < 500; ++step) cost.observe(decode(1, 100), 30);
  cost.observe(decode(1, 100), 3000);
  EXPECT_LT(cost.ms(decode(1, 100)), 32);
  for (int step = 0; step < 5000; ++step) cost.observe(decode(1, 100), 90);
  EXPECT_NEAR(cost.ms(decode(1, 100)), 90, 9);
}

}  // namespace
}  // namespace millrace
