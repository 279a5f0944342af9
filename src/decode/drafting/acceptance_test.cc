#include "decode/drafting/acceptance.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

constexpr SeqId kOne{1}, kOther{2};

TEST(Acceptance, IsTheProposersAccountAtFirst) {
  const Acceptance acceptance(1);
  for (const float chance : {0.1F, 0.5F, 0.9F}) {
    EXPECT_NEAR(acceptance.of(kOne, {.chance = chance}), chance, 1e-6);
  }
  EXPECT_GT(acceptance.before(kOne, 0, 1), 0.5);
}

TEST(Acceptance, LearnsWhatAnAccountIsWorth) {
  Acceptance acceptance(2);
  for (int i = 0; i < 200; ++i) {
    acceptance.observe({100 + i}, {.method = 1, .depth = 1, .chance = 0.95F}, true, i % 10 == 0);
    acceptance.observe({100 + i}, {.method = 1, .depth = 1, .chance = 0.6F}, false, i % 2 == 0);
    acceptance.step();
  }
  EXPECT_NEAR(acceptance.of(kOne, {.method = 1, .depth = 1, .chance = 0.95F}), 0.1, 0.05);
  EXPECT_NEAR(acceptance.of(kOne, {.method = 1, .depth = 1, .chance = 0.6F}), 0.5, 0.05);
  EXPECT_NEAR(acceptance.before(kOne, 1, 1), 0.1, 0.05);
  EXPECT_NEAR(acceptance.of(kOne, {.method = 1, .depth = 2, .chance = 0.95F}), 0.95, 0.01);
  EXPECT_NEAR(acceptance.of(kOne, {.method = 0, .depth = 1, .chance = 0.95F}), 0.95, 0.01);
}

TEST(Acceptance, TellsSequencesApart) {
  Acceptance acceptance(1);
  for (int i = 0; i < 50; ++i) {
    acceptance.observe(kOne, {.chance = 0.5F}, true, true);
    acceptance.observe(kOther, {.chance = 0.5F}, true, false);
  }
  EXPECT_GT(acceptance.of(kOne, {.chance = 0.5F}), 0.8);
  EXPECT_LT(acceptance.of(kOther, {.chance = 0.5F}), 0.2);
  acceptance.forget(kOther);
  EXPECT_NEAR(acceptance.of(kOther, {.chance = 0.5F}), 0.5, 0.05);
}

// So that a method that failed is tried again.
TEST(Acceptance, FadesWithTheSteps) {
  Acceptance acceptance(1);
  for (int i = 0; i < 100; ++i) acceptance.observe({10 + i}, {.chance = 0.8F}, true, false);
  EXPECT_LT(acceptance.before(kOne, 0, 1), 0.1);
  for (int i = 0; i < 5000; ++i) acceptance.step();
  EXPECT_GT(acceptance.before(kOne, 0, 1), 0.5);
  EXPECT_GT(acceptance.of(kOne, {.chance = 0.8F}), 0.5);
}

TEST(Acceptance, IsAProbabilityBelowOne) {
  Acceptance acceptance(1);
  EXPECT_GT(acceptance.of(kOne, {.chance = 0}), 0);
  EXPECT_LT(acceptance.of(kOne, {.chance = 1}), 1);
  for (int i = 0; i < 1000; ++i) acceptance.observe(kOne, {.chance = 0.1F}, true, true);
  EXPECT_LT(acceptance.of(kOne, {.chance = 0.1F}), 1);
}

}  // namespace
}  // namespace millrace
