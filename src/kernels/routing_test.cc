#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/experts.h"
#include "tests/fixtures/kernels/routed.h"

namespace millrace {
namespace {

using ops::Dispatch;
using ops::Routing;

std::vector<double> softmax_of(std::span<const double> logits) {
  std::vector<double> shares(logits.size());
  double sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) sum += shares[i] = std::exp(logits[i]);
  for (double& share : shares) share /= sum;
  return shares;
}

// Best first; of equals the lower number.
std::vector<int32_t> order_of(const std::vector<double>& values) {
  std::vector<int32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order,
                           [&](int32_t a, int32_t b) { return values[at(a)] > values[at(b)]; });
  return order;
}

std::vector<double> as_doubles(std::span<const float> values) {
  return {values.begin(), values.end()};
}

void expect_weights(const Floats& weights, const std::vector<double>& expected) {
  ASSERT_EQ(weights.size(), expected.size());
  for (size_t i = 0; i < weights.size(); ++i) EXPECT_NEAR(weights[i], expected[i], 2e-6);
}

constexpr int64_t kRouted = 20;
constexpr int64_t kExperts = 16;

Floats logits_of(int64_t row, const Floats& logits) {
  return {logits.begin() + row * kExperts, logits.begin() + (row + 1) * kExperts};
}

TEST(RouteTest, ChoosesByLogitsAndWeighsBySoftmaxOfAll) {
  const Floats logits = random_floats(kRouted * kExperts, 1, 2);
  for (const bool renormalise : {false, true}) {
    const Routing routing{.chosen = 5, .renormalise = renormalise, .scale = 2.5F};
    const Routed result = routed(routing, logits, kRouted);
    for (int64_t row = 0; row < kRouted; ++row) {
      const std::vector<double> shares = softmax_of(as_doubles(logits_of(row, logits)));
      std::vector<int32_t> order = order_of(shares);
      order.resize(5);
      EXPECT_EQ(result.experts_of(row), order);
      double sum = 0;
      for (const int32_t expert : order) sum += shares[at(expert)];
      std::vector<double> expected;
      for (const int32_t expert : order) {
        expected.push_back(2.5 * shares[at(expert)] / (renormalise ? sum : 1));
      }
      expect_weights(result.weights_of(row), expected);
    }
  }
}

TEST(RouteTest, ScoresWhatItChose) {
  const Floats logits = random_floats(kRouted * kExperts, 2, 20);  // some sigmoids are 1
  for (const auto score : {Routing::Score::kSoftmax, Routing::Score::kSigmoid}) {
    const Routed result =
        routed({.score = score, .after_choice = true, .chosen = 4}, logits, kRouted);
    for (int64_t row = 0; row < kRouted; ++row) {
      const std::vector<double> values = as_doubles(logits_of(row, logits));
      std::vector<int32_t> order = order_of(values);
      order.resize(4);
      EXPECT_EQ(result.experts_of(row), order);
      std::vector<double> chosen;
      for (const int32_t expert : order) chosen.push_back(values[at(expert)]);
      if (score == Routing::Score::kSoftmax) {
        expect_weights(result.weights_of(row), softmax_of(chosen));
      } else {
        for (double& x : chosen) x = 1 / (1 + std::exp(-x));
        expect_weights(result.weights_of(row), chosen);
      }
    }
  }
}

// DeepSeek-V3: sigmoids with a bias choose two of four groups and three experts of these; the
// sigmoids without it weigh.
TEST(RouteTest, ChoosesInTheBestGroups) {
  const Floats logits = random_floats(kRouted * kExperts, 3, 1.5F);
  const Floats bias = random_floats(kExperts, 4, 0.3F);
  const Routing routing{.score = Routing::Score::kSigmoid,
                        .chosen = 3,
                        .groups = 4,
                        .groups_chosen = 2,
                        .selection_bias = bias,
                        .renormalise = true,
                        .scale = 2};
  const Routed result = routed(routing, logits, kRouted);
  for (int64_t row = 0; row < kRouted; ++row) {
    std::vector<double> scores = as_doubles(logits_of(row, logits));
    std::vector<double> biased(at(kExperts));
    std::vector<double> groups;
    for (size_t i = 0; i < scores.size(); ++i) {
      scores[i] = 1 / (1 + std::exp(-scores[i]));
      biased[i] = scores[i] + bias[i];
    }
    for (size_t group = 0; group < 16; group += 4) {
      std::vector<double> members(biased.begin() + static_cast<int64_t>(group),
                                  biased.begin() + static_cast<int64_t>(group) + 4);
      std::ranges::sort(members, std::greater());
      groups.push_back(members[0] + members[1]);
    }
    const std::vector<int32_t> best = order_of(groups);
    for (size_t i = 2; i < 4; ++i) {
      for (int64_t j = 0; j < 4; ++j) biased[at(best[i] * 4 + j)] = -1e9;
    }
    std::vector<int32_t> order = order_of(biased);
    order.resize(3);
    EXPECT_EQ(result.experts_of(row), order);
    double sum = 0;
    for (const int32_t expert : order) sum += scores[at(expert)];
    std::vector<double> expected;
    for (const int32_t expert : order) expected.push_back(2 * scores[at(expert)] / sum);
    expect_weights(result.weights_of(row), expected);
  }
}

// DeepSeek-V2: softmax, and the group of the best expert, though two others together are better.
TEST(RouteTest, AGroupMayBeAsGoodAsItsBestExpert) {
  Routing routing{.chosen = 2, .groups = 2, .groups_chosen = 1, .groups_by_two = false};
  const Floats logits = {3, -2, -2, 2.5F, 2.5F, 0};
  EXPECT_EQ(routed(routing, logits, 1).experts_of(0), (std::vector<int32_t>{0, 1}));
  routing.groups_by_two = true;
  EXPECT_EQ(routed(routing, logits, 1).experts_of(0), (std::vector<int32_t>{3, 4}));
}

// Gemma 4.
TEST(RouteTest, ExpertsMayHaveScalesOfTheirOwn) {
  const Floats logits = random_floats(kRouted * kExperts, 8);
  const Floats scales = random_floats(kExperts, 9);
  Routing routing{.chosen = 4, .renormalise = true};
  const Routed plain = routed(routing, logits, kRouted);
  routing.expert_scales = scales;
  const Routed scaled = routed(routing, logits, kRouted);
  for (int64_t row = 0; row < kRouted; ++row) {
    EXPECT_EQ(scaled.experts_of(row), plain.experts_of(row));
    std::vector<double> expected = as_doubles(plain.weights_of(row));
    for (size_t i = 0; i < 4; ++i) expected[i] *= scales[at(plain.experts_of(row)[i])];
    expect_weights(scaled.weights_of(row), expected);
  }
}

TEST(RouteTest, SparsemixerWeighsEachByItsOwnSoftmax) {
  const Routing routing{.score = Routing::Score::kSparsemixer, .chosen = 2, .threshold = 0.02F};
  const Routed result = routed(routing,
                               {3, 1, 2.96F, 2.5F,        //
                                -1, -1.01F, -1.05F, -9},  //
                               2);
  EXPECT_EQ(result.experts_of(0), (std::vector<int32_t>{0, 2}));
  expect_weights(result.weights_of(0), {1 / (1 + std::exp(-0.04)), 1});
  EXPECT_EQ(result.experts_of(1), (std::vector<int32_t>{0, 1}));
  expect_weights(result.weights_of(1), {1 / (1 + std::exp(-0.01)), 1});
}

TEST(RouteTest, OfEqualsTheFirstIsBest) {
  const Routed result = routed({.chosen = 3}, {1, 2, 2, 1, 2, 2}, 1);
  EXPECT_EQ(result.experts_of(0), (std::vector<int32_t>{1, 2, 4}));
  const Routing groups{.chosen = 2, .groups = 3, .groups_chosen = 1};
  EXPECT_EQ(routed(groups, {1, 1, 3, 2, 2, 3}, 1).experts_of(0), (std::vector<int32_t>{2, 3}));
}

TEST(RouteTest, RowsThatAreNoNumbersHarmNoOther) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Floats logits = random_floats(4 * kExperts, 5);
  Floats bad = logits;
  std::fill_n(bad.begin(), kExperts, kNan);
  bad[2 * kExperts + 3] = kInfinity;
  bad[2 * kExperts + 7] = kNan;
  const Floats bias = random_floats(kExperts, 6);
  for (const auto score :
       {Routing::Score::kSoftmax, Routing::Score::kSigmoid, Routing::Score::kSparsemixer}) {
    const bool sparse = score == Routing::Score::kSparsemixer;
    const Routing routing{.score = score,
                          .chosen = sparse ? 2 : 6,
                          .groups = sparse ? 1 : 4,
                          .groups_chosen = sparse ? 1 : 2,
                          .selection_bias = sparse ? std::span<const float>() : bias};
    const Routed clean = routed(routing, logits, 4);
    const Routed dirty = routed(routing, bad, 4);
    for (const int64_t row : {1, 3}) {
      EXPECT_EQ(dirty.experts_of(row), clean.experts_of(row));
      EXPECT_EQ(dirty.weights_of(row), clean.weights_of(row));
    }
    for (const int64_t row : {0, 2}) {
      std::vector<int32_t> experts = dirty.experts_of(row);
      std::ranges::sort(experts);
      EXPECT_EQ(std::ranges::adjacent_find(experts), experts.end());
      EXPECT_GE(experts.front(), 0);
      EXPECT_LT(experts.back(), kExperts);
    }
  }
}

TEST(DispatchTest, PlacesGoExpertByExpertInTheOrderOfRows) {
  const Routed result = routed({.chosen = 3}, random_floats(kRouted * kExperts, 7, 3), kRouted, 3);
  const Dispatch& d = result.dispatch;
  std::vector<std::pair<int32_t, int64_t>> expected;  // expert, row
  for (int64_t row = 0; row < kRouted; ++row) {
    for (const int32_t expert : result.experts_of(row)) expected.emplace_back(expert, row);
  }
  std::ranges::sort(expected);
  std::vector<std::pair<int32_t, int64_t>> placed(expected.size());
  for (int64_t i = 0; i < d.all_places(); ++i) {
    placed[at(d.places[i])] = {d.experts_of[i], i / 3};
    EXPECT_EQ(d.place_weights[d.places[i]], d.weights[i]);
  }
  EXPECT_EQ(placed, expected);
  int32_t busy = 0;
  for (int32_t expert = 0; expert < kExperts; ++expert) {
    const auto count = std::ranges::count(expected, expert, [](const auto& x) { return x.first; });
    EXPECT_EQ(d.starts[expert + 1] - d.starts[expert], count);
    if (count == 0) continue;
    EXPECT_EQ(d.busy[++busy], expert);
  }
  EXPECT_EQ(d.busy[0], busy);
}

}  // namespace
}  // namespace millrace
