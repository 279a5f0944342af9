#include "decode/drafting/drafting.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <string>

#include <gtest/gtest.h>

namespace millrace {
namespace {

// Guesses a chain of tokens 1, 2, ... with one chance, at a price.
class Counting final : public Proposer {
 public:
  Counting(std::string name, float chance, double ms)
      : name_(std::move(name)), chance_(chance), ms_(ms) {}

  std::string_view method() const override { return name_; }
  void propose(std::span<DraftSlot> slots) override {
    asked = static_cast<int32_t>(slots.size());
    for (DraftSlot& slot : slots) {
      deepest = std::max(deepest, slot.depth_max);
      survival_min = slot.survival_min;
      for (int32_t i = 0; i < std::min(slot.depth_max, slot.nodes_max); ++i) {
        slot.add(first + i, i - 1, chance_);
      }
    }
  }
  DraftCost cost_of(std::span<const DraftSlot> slots) override {
    int32_t depth = 0;
    for (const DraftSlot& slot : slots) depth = std::max(depth, slot.depth_max);
    return {.ms = ms_ * depth, .catch_up_ms = catch_up_ms};
  }
  void forget(const Sequence& /*sequence*/) override {}

  TokenId first = 1;
  double catch_up_ms = 0;
  int32_t asked = 0, deepest = 0;
  double survival_min = 0;

 private:
  const std::string name_;
  const float chance_;
  const double ms_;
};

class DraftingTest : public testing::Test {
 protected:
  // A row of a step costs `row_ms`, and the step 10 besides.
  void open(double row_ms, bool automatic, int32_t depth_max = 4) {
    for (int i = 0; i < 500; ++i) {
      const int32_t rows = i % 40 + 1;
      cost_.observe({.rows = rows, .wants = rows, .keys = rows}, 10 + row_ms * rows);
    }
    drafting_.emplace(DraftingOptions{.depth_max = depth_max,
                                      .nodes_max = 2 * depth_max,
                                      .automatic = automatic,
                                      .chains_only = chains_only_},
                      std::move(proposers_), cost_, clock_);
  }
  Counting& add_proposer(std::string name, float chance, double ms = 0) {
    auto made = std::make_unique<Counting>(std::move(name), chance, ms);
    Counting& proposer = *made;
    proposers_.push_back(std::move(made));
    return proposer;
  }
  Sequence& decode(std::string method = "", int64_t tokens_max = 1000) {
    Request request;
    request.prompt = {5};
    request.draft_method = std::move(method);
    request.stop.tokens_max = tokens_max;
    Sequence& sequence = sequences_.emplace_back();
    sequence.id = {std::ssize(sequences_)};
    sequence.tokens = {5, 6};
    sequence.computed = 1;
    sequence.request = std::make_shared<const Request>(std::move(request));
    return sequence;
  }
  // Drafts for all sequences; returns how many nodes each got.
  std::vector<int32_t> propose(int32_t rows_left = 100) {
    flight_.clear();
    for (Sequence& sequence : sequences_) flight_.plan.slices.push_back({&sequence, 1});
    flight_.plan.rows_left = rows_left;
    drafting_->propose(flight_.plan);
    std::vector<int32_t> nodes;
    for (const PlannedSlice& slice : flight_.plan.slices) nodes.push_back(slice.draft.size());
    return nodes;
  }
  // `token` came in every sequence; no draft was verified.
  void draw(TokenId token) {
    for (Sequence& sequence : sequences_) {
      const auto draw = static_cast<int32_t>(flight_.output.drawn.size());
      flight_.output.drawn.push_back({.token = token});
      flight_.verdict.draws.push_back(draw);
      flight_.verdict.outcomes.push_back({.sequence = &sequence, .draws = {draw, draw + 1}});
    }
    drafting_->learn(flight_);
  }

  bool chains_only_ = false;
  Proposers proposers_;
  CostModel cost_;
  ManualClock clock_;
  std::optional<Drafting> drafting_;
  std::deque<Sequence> sequences_;
  Flight flight_;
};

TEST_F(DraftingTest, ANamedMethodDraftsWhateverItCosts) {
  add_proposer("a", 0.01F, 1000);
  open(100, false);
  decode();
  decode("a");
  decode("none");
  EXPECT_EQ(propose(), (std::vector<int32_t>{4, 4, 0}));
}

TEST_F(DraftingTest, SeveralMethodsMakeOneTree) {
  add_proposer("a", 0.5F);
  add_proposer("b", 0.6F).first = 11;
  open(1, false);
  decode();
  decode("b");
  EXPECT_EQ(propose(), (std::vector<int32_t>{8, 4}));
  const auto nodes = flight_.plan.draft_of(flight_.plan.slices[0]);
  EXPECT_EQ(nodes[0].token, 11);  // the likelier path first
  EXPECT_EQ(nodes[0].method, 1);
  EXPECT_EQ(leading_chain(nodes), 4);
  EXPECT_EQ(nodes[4].token, 1);
  EXPECT_EQ(nodes[4].parent, -1);
}

TEST_F(DraftingTest, AStateTakesOnePath) {
  chains_only_ = true;
  add_proposer("a", 0.5F);
  add_proposer("b", 0.6F).first = 11;
  open(1, false);
  decode();
  EXPECT_EQ(propose(), (std::vector<int32_t>{4}));
}

TEST_F(DraftingTest, GuessesNoTokenThatCannotCome) {
  add_proposer("a", 0.9F);
  open(1, false);
  decode("", 3);  // one was said: the third is drawn after the second
  decode("", 2);
  EXPECT_EQ(propose(), (std::vector<int32_t>{1, 0}));
}

TEST_F(DraftingTest, AutoTakesNodesThatPay) {
  add_proposer("a", 0.8F);
  open(0.1, true);
  decode();
  EXPECT_EQ(propose(), (std::vector<int32_t>{4}));
  open(20, true);  // as dear as a step each
  EXPECT_EQ(propose(), (std::vector<int32_t>{0}));
}

TEST_F(DraftingTest, AutoStopsAndGoesOnByWhatHolds) {
  Counting& proposer = add_proposer("a", 0.8F);
  open(1.5, true);
  decode();
  EXPECT_GT(propose()[0], 0);
  for (int i = 0; i < 40; ++i) {
    draw(99);
    propose();
  }
  EXPECT_EQ(propose()[0], 0);
  EXPECT_EQ(proposer.asked, 1);  // still asked, as it costs nothing
  for (int i = 0; i < 80; ++i) {
    draw(1);
    propose();
  }
  EXPECT_GT(propose()[0], 0);
}

TEST_F(DraftingTest, AutoGivesRowsToWhomTheyHelpMost) {
  add_proposer("a", 0.8F);
  open(1.5, true);
  Sequence& good = decode();
  decode();
  propose();
  for (int i = 0; i < 60; ++i) {
    for (Sequence& sequence : sequences_) {
      const auto draw = static_cast<int32_t>(flight_.output.drawn.size());
      flight_.output.drawn.push_back({.token = &sequence == &good ? 1 : 99});
      flight_.verdict.draws.push_back(draw);
      flight_.verdict.outcomes.push_back({.sequence = &sequence, .draws = {draw, draw + 1}});
    }
    drafting_->learn(flight_);
    propose();
  }
  const std::vector<int32_t> nodes = propose();
  EXPECT_GT(nodes[0], 1);
  EXPECT_EQ(nodes[1], 0);
  EXPECT_EQ(propose(1), (std::vector<int32_t>{1, 0}));
}

TEST_F(DraftingTest, AutoAsksWhoTakesTimeOnlyAsFarAsItPays) {
  Counting& cheap = add_proposer("a", 0.8F, 0.5);
  open(0.1, true, 8);
  decode();
  propose();
  EXPECT_EQ(cheap.asked, 1);
  EXPECT_EQ(cheap.deepest, 8);
  EXPECT_GT(cheap.survival_min, 0.05);  // of a level and a row to a token
  EXPECT_LT(cheap.survival_min, 0.2);

  Counting& dear = add_proposer("b", 0.8F, 200);
  open(0.1, true, 8);
  propose();
  EXPECT_EQ(dear.asked, 0);
}

// At first, and then for a hundredth of the time.
TEST_F(DraftingTest, AutoTriesWhatDoesNotSeemToPaySeldom) {
  Counting& dear = add_proposer("a", 0.8F, 20);
  open(0.1, true, 8);
  decode();
  decode();
  const auto asked_in = [&](int steps) {
    int count = 0;
    for (int i = 0; i < steps; ++i) {
      dear.asked = 0;
      propose();
      EXPECT_LE(dear.asked, 1);  // of the two
      count += dear.asked;
    }
    return count;
  };
  EXPECT_EQ(asked_in(40), 12);
  EXPECT_EQ(asked_in(1000), 0);
  EXPECT_EQ(asked_in(2000), 6);
}

TEST_F(DraftingTest, AutoCountsWhatAProposerHasYetToRead) {
  Counting& proposer = add_proposer("a", 0.8F, 0.5);
  proposer.catch_up_ms = 1000;
  open(0.1, true);
  Sequence& sequence = decode();
  propose();
  EXPECT_EQ(proposer.asked, 0);
  sequence.tokens.resize(700, 6);  // one that has gone on so long will go on
  sequence.computed = 699;
  propose();
  EXPECT_EQ(proposer.asked, 1);
}

}  // namespace
}  // namespace millrace
