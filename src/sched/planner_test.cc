#include "sched/planner.h"

#include <deque>
#include <random>

#include <gtest/gtest.h>

namespace millrace {
namespace {

// The level is what a test chose.
class ByLevel final : public Policy {
 public:
  Rank rank(const Sequence& sequence, Instant) const override {
    return {.level = sequence.choice, .key = sequence.id.value};
  }
};

class PlannerTest : public testing::Test {
 protected:
  void open(Limits limits, int32_t block_tokens, int64_t blocks,
            std::unique_ptr<Policy> policy = *make_policy("fcfs"), bool prefix_caching = false) {
    open(limits, {{.block_tokens = block_tokens, .units = blocks}}, std::move(policy),
         prefix_caching);
  }
  void open(Limits limits, const std::vector<KvGroup>& groups, std::unique_ptr<Policy> policy,
            bool prefix_caching) {
    if (limits.long_prefill_rows == 0) limits.long_prefill_rows = 1000;
    ledger_ = std::make_unique<Ledger>(groups, LedgerOptions{.prefix_caching = prefix_caching});
    planner_ = std::make_unique<Planner>(std::move(policy), limits);
  }

  Sequence& arrive(int64_t prompt, int32_t choice = 0) {
    Request request;
    request.prompt.assign(static_cast<size_t>(prompt), 1);
    Sequence& sequence = sequences_.emplace_back();
    sequence.id = {std::ssize(sequences_)};
    sequence.choice = choice;
    sequence.tokens = request.prompt;
    sequence.request = std::make_shared<const Request>(std::move(request));
    live_.push_back(&sequence);
    return sequence;
  }

  // Plans, and computes what was planned: which sequence, how many rows.
  std::vector<std::pair<int64_t, int32_t>> step() {
    planner_->plan(live_, *ledger_, Instant(), flight_);
    ledger_->check_integrity();
    std::vector<std::pair<int64_t, int32_t>> planned;
    for (const PlannedSlice& slice : flight_.plan.slices) {
      planned.emplace_back(slice.sequence->id.value, slice.known_rows);
      slice.sequence->advance(slice.known_rows);
      if (slice.sequence->pending() == 0) slice.sequence->tokens.push_back(1);
      ledger_->settle(*slice.sequence);
    }
    return planned;
  }

  using Planned = std::vector<std::pair<int64_t, int32_t>>;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<Planner> planner_;
  std::deque<Sequence> sequences_;
  std::vector<Sequence*> live_;
  Flight flight_;
};

TEST(Policies, AreKnownByName) {
  for (const std::string_view name : policy_names()) EXPECT_TRUE(make_policy(name).ok()) << name;
  const auto unknown = make_policy("lottery");
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(message_of(unknown.status()).find("fcfs"), std::string_view::npos);
}

TEST_F(PlannerTest, FillsTheBudgetByRankAndCutsPromptsIntoChunks) {
  open({.rows_max = 5, .sequences_max = 4}, 4, 100);
  arrive(3);
  arrive(7);
  EXPECT_EQ(step(), (Planned{{1, 3}, {2, 2}}));
  EXPECT_EQ(step(), (Planned{{1, 1}, {2, 4}}));
  EXPECT_EQ(step(), (Planned{{1, 1}, {2, 1}}));
}

TEST_F(PlannerTest, ABudgetOfOneServesTheFirstInLine) {
  open({.rows_max = 1, .sequences_max = 4}, 4, 100);
  arrive(2);
  arrive(2);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(step(), (Planned{{1, 1}}));
}

TEST_F(PlannerTest, KeepsToTheNumberOfSequences) {
  open({.rows_max = 50, .sequences_max = 2}, 4, 100);
  for (int i = 0; i < 3; ++i) arrive(2);
  EXPECT_EQ(step().size(), 2U);
  EXPECT_FALSE(flight_.plan.short_of_memory);
}

TEST_F(PlannerTest, TakesMemoryFromTheLowestRanked) {
  open({.rows_max = 50, .sequences_max = 4}, 2, 6);
  arrive(4);
  arrive(4);
  EXPECT_EQ(step().size(), 2U);
  EXPECT_EQ(step().size(), 2U);  // a third block each
  EXPECT_EQ(step().size(), 2U);
  EXPECT_EQ(step(), (Planned{{1, 1}}));
  EXPECT_EQ(flight_.plan.preempted, 1);
  EXPECT_EQ(sequences_[1].preemptions, 1);
  EXPECT_FALSE(ledger_->holds({2}));
}

TEST_F(PlannerTest, NoNewcomerOvertakesOneThatWaitsForMemory) {
  open({.rows_max = 50, .sequences_max = 4}, 2, 6);
  arrive(6);
  arrive(7);
  arrive(1);
  EXPECT_EQ(step(), (Planned{{1, 6}}));
  EXPECT_TRUE(flight_.plan.short_of_memory);
  EXPECT_EQ(flight_.plan.preempted, 0);  // it never ran
  EXPECT_FALSE(ledger_->holds({2}));
}

TEST_F(PlannerTest, ANewcomerTakesWhatItNeedsFromLowerLevels) {
  open({.rows_max = 50, .sequences_max = 4}, 2, 4, std::make_unique<ByLevel>());
  arrive(4, 1);
  EXPECT_EQ(step(), (Planned{{1, 4}}));
  arrive(8, 0);
  EXPECT_EQ(step(), (Planned{{2, 8}}));
  EXPECT_EQ(sequences_[0].preemptions, 1);
}

TEST_F(PlannerTest, ANewcomerWaitsForHoldersOfItsLevel) {
  open({.rows_max = 8, .sequences_max = 4, .long_prefill_rows = 2}, 2, 30);
  arrive(20);
  arrive(40);
  arrive(6);
  EXPECT_EQ(step(), (Planned{{1, 4}, {3, 4}}));
  for (int i = 0; i < 3; ++i) step();
  EXPECT_EQ(step(), (Planned{{1, 1}, {3, 1}}));  // the second has no room beside them
  EXPECT_EQ(flight_.plan.preempted, 0);
  EXPECT_TRUE(flight_.plan.short_of_memory);
  ledger_->release({1});
  live_.erase(live_.begin());
  EXPECT_EQ(step(), (Planned{{2, 7}, {3, 1}}));
}

TEST_F(PlannerTest, LeavesOutWhatAwaitsAFork) {
  open({.rows_max = 50, .sequences_max = 4}, 2, 4);
  arrive(2);
  arrive(2).tokens.clear();
  EXPECT_EQ(step(), (Planned{{1, 2}}));
}

TEST_F(PlannerTest, GivesALonePromptTheWholeStep) {
  open({.rows_max = 8, .sequences_max = 4, .long_prefill_rows = 2}, 4, 100);
  arrive(20);
  EXPECT_EQ(step(), (Planned{{1, 8}}));
  EXPECT_EQ(step(), (Planned{{1, 8}}));
  EXPECT_EQ(step(), (Planned{{1, 4}}));
}

TEST_F(PlannerTest, ALongPromptLeavesHalfToShorterOnes) {
  open({.rows_max = 8, .sequences_max = 9, .long_prefill_rows = 2}, 4, 200);
  arrive(100);
  for (int i = 0; i < 5; ++i) arrive(2);
  EXPECT_EQ(step(), (Planned{{1, 4}, {2, 2}, {3, 2}}));
  EXPECT_EQ(step(), (Planned{{1, 3}, {2, 1}, {3, 1}, {4, 2}, {5, 1}}));
  EXPECT_EQ(step(), (Planned{{1, 2}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {6, 2}}));
  EXPECT_EQ(step(), (Planned{{1, 3}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {6, 1}}));
}

TEST_F(PlannerTest, ManyLongPromptsLeaveAShortOneItsShare) {
  open({.rows_max = 8, .sequences_max = 2, .long_prefill_rows = 2}, 4, 200);
  for (int i = 0; i < 4; ++i) arrive(100);
  EXPECT_EQ(step(), (Planned{{1, 8}}));
  arrive(3);
  EXPECT_EQ(step(), (Planned{{1, 5}, {5, 3}}));
  EXPECT_EQ(step(), (Planned{{1, 7}, {5, 1}}));
}

TEST_F(PlannerTest, ServesTheShortestOfLongPromptsBesideTheFirst) {
  open({.rows_max = 8, .sequences_max = 4, .long_prefill_rows = 2}, 4, 200);
  arrive(100);
  arrive(40);
  arrive(10);
  EXPECT_EQ(step(), (Planned{{1, 4}, {3, 4}}));
  EXPECT_EQ(step(), (Planned{{1, 4}, {3, 4}}));
  EXPECT_EQ(step(), (Planned{{1, 4}, {2, 2}, {3, 2}}));
}

TEST_F(PlannerTest, PromptsOfAboutOneLengthGoByArrival) {
  open({.rows_max = 8, .sequences_max = 4, .long_prefill_rows = 2}, 4, 200);
  arrive(12);
  arrive(10);
  arrive(11);
  EXPECT_EQ(step(), (Planned{{1, 8}}));
  EXPECT_EQ(step(), (Planned{{1, 4}, {2, 4}}));
  EXPECT_EQ(step(), (Planned{{1, 1}, {2, 6}, {3, 1}}));
}

TEST_F(PlannerTest, SequencesThatDecodeComeBeforePrompts) {
  open({.rows_max = 3, .sequences_max = 4, .long_prefill_rows = 2}, 4, 200);
  arrive(1);
  EXPECT_EQ(step(), (Planned{{1, 1}}));
  arrive(20, 0);
  arrive(1);
  EXPECT_EQ(step(), (Planned{{1, 1}, {2, 1}, {3, 1}}));
  EXPECT_EQ(step(), (Planned{{1, 1}, {2, 1}, {3, 1}}));
}

TEST_F(PlannerTest, TheFirstInRankComputesHoweverManyDecode) {
  open({.rows_max = 2, .sequences_max = 4, .long_prefill_rows = 2}, 4, 200,
       std::make_unique<ByLevel>());
  for (int i = 0; i < 3; ++i) arrive(1, 1);
  step();
  step();
  arrive(9, 0);
  EXPECT_EQ(step(), (Planned{{4, 1}, {1, 1}}));
}

TEST_F(PlannerTest, PromptsShareOnlyWithinTheirLevel) {
  open({.rows_max = 8, .sequences_max = 4, .long_prefill_rows = 2}, 4, 200,
       std::make_unique<ByLevel>());
  arrive(20, 0);
  arrive(2, 1);
  EXPECT_EQ(step(), (Planned{{1, 8}}));
  EXPECT_EQ(step(), (Planned{{1, 8}}));
  EXPECT_EQ(step(), (Planned{{1, 4}, {2, 2}}));
}

TEST_F(PlannerTest, AwaitsThePrefixThatTheFirstIsComputing) {
  open({.rows_max = 8, .sequences_max = 4, .long_prefill_rows = 2}, 4, 200, *make_policy("fcfs"),
       true);
  arrive(40);
  arrive(12);  // the same tokens
  EXPECT_EQ(step(), (Planned{{1, 8}}));
  EXPECT_EQ(step(), (Planned{{1, 4}, {2, 4}}));
  EXPECT_EQ(sequences_[1].cached, 8);
}

TEST_F(PlannerTest, PromptsWhosePrefixWasComputedShareAStep) {
  open({.rows_max = 8, .sequences_max = 4, .long_prefill_rows = 2}, 4, 200, *make_policy("fcfs"),
       true);
  for (int i = 0; i < 4; ++i) arrive(16);
  EXPECT_EQ(step(), (Planned{{1, 8}}));
  EXPECT_EQ(step(), (Planned{{1, 8}}));
  EXPECT_EQ(step(), (Planned{{1, 1}, {2, 1}, {3, 1}, {4, 1}}));
}

TEST_F(PlannerTest, PreemptsNobodyInVain) {
  open({.rows_max = 50, .sequences_max = 4}, 2, 8, std::make_unique<ByLevel>());
  arrive(8, 0);
  arrive(4, 2);
  EXPECT_EQ(step(), (Planned{{1, 8}, {2, 4}}));
  arrive(12, 1);
  EXPECT_EQ(step(), (Planned{{1, 1}, {2, 1}}));
  EXPECT_EQ(flight_.plan.preempted, 0);
  EXPECT_TRUE(flight_.plan.short_of_memory);

  ledger_->release({1});
  live_.erase(live_.begin());
  EXPECT_EQ(step(), (Planned{{3, 12}}));
  EXPECT_EQ(flight_.plan.preempted, 1);
}

TEST_F(PlannerTest, KeepsHoldersWhoseBlocksBringNothing) {
  open({.rows_max = 50, .sequences_max = 4}, 2, 5, std::make_unique<ByLevel>());
  Sequence& parent = arrive(4, 0);
  arrive(4, 1);
  EXPECT_EQ(step(), (Planned{{1, 4}, {2, 4}}));
  Sequence& child = arrive(5, 2);
  child.computed = parent.computed;
  ledger_->fork(parent.id, child.id);
  EXPECT_EQ(step(), (Planned{{1, 1}}));
  EXPECT_EQ(step(), (Planned{{1, 1}}));
  EXPECT_EQ(flight_.plan.preempted, 0);
  EXPECT_EQ(step(), (Planned{{1, 1}, {3, 1}}));
  EXPECT_EQ(flight_.plan.preempted, 1);
  EXPECT_EQ(sequences_[1].preemptions, 1);
}

// The long prompt is too large for what is free; what runs below it must not stand still meanwhile.
TEST_F(PlannerTest, HoldersRunWhileAPromptBeforeThemWaitsForMemory) {
  open({.rows_max = 8, .sequences_max = 4, .long_prefill_rows = 2}, 2, 24,
       std::make_unique<ByLevel>());
  arrive(20, 0);
  arrive(20, 2);
  step();
  ASSERT_EQ(step(), (Planned{{1, 8}}));
  ASSERT_EQ(step(), (Planned{{1, 4}, {2, 4}}));
  arrive(40, 1);
  EXPECT_EQ(step(), (Planned{{1, 1}, {2, 7}}));
  EXPECT_TRUE(flight_.plan.short_of_memory);
  EXPECT_EQ(flight_.plan.preempted, 0);
}

// Sequences of three levels that know up to 40 tokens, in as little of each group as one needs, or
// a little more.
class PlannerFuzz : public PlannerTest {
 protected:
  static constexpr int64_t kTokens = 40;

  int64_t below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }

  void open_any() {
    const auto block_tokens = static_cast<int32_t>(1 + below(4));
    std::vector<KvGroup> groups;
    const auto add = [&](KvKind kind, int64_t window) {
      KvGroup group{kind, block_tokens, static_cast<int32_t>(window)};
      group.units = blocks_per_sequence(group, 1, kTokens) + below(4) * below(8);
      groups.push_back(group);
    };
    const int64_t kinds = 1 + below(7);
    if ((kinds & 1) != 0) add(KvKind::kTokens, 0);
    if ((kinds & 2) != 0) add(KvKind::kTokens, 1 + below(9));
    if ((kinds & 4) != 0) add(KvKind::kState, 0);
    const Limits limits{.rows_max = static_cast<int32_t>(1 + below(30)),
                        .sequences_max = static_cast<int32_t>(1 + below(6)),
                        .long_prefill_rows = 1 + below(9)};
    PlannerTest::open(limits, groups, std::make_unique<ByLevel>(), below(3) > 0);
    sequences_.clear();
    live_.clear();
  }

  void compute_step() {
    planner_->plan(live_, *ledger_, Instant(), flight_);
    flatten(flight_.plan, flight_.batch);
    ledger_->drain(flight_.batch);
    ledger_->check_integrity();
    for (const PlannedSlice& slice : flight_.plan.slices) {
      Sequence& sequence = *slice.sequence;
      sequence.advance(slice.known_rows);
      if (sequence.pending() == 0) sequence.tokens.push_back(static_cast<TokenId>(below(2)));
      ledger_->settle(sequence);
      if (sequence.pending() == 1 && sequence.known() < kTokens && below(8) == 0) fork(sequence);
    }
    for (size_t i = live_.size(); i-- > 0;) {
      if (live_[i]->known() < kTokens && below(20) > 0) continue;
      ledger_->release(live_[i]->id);
      live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    ledger_->check_integrity();
  }

  void fork(const Sequence& parent) {
    Sequence& child = arrive(parent.prompt(), static_cast<int32_t>(below(3)));
    child.tokens = parent.tokens;
    child.computed = parent.computed;
    ledger_->fork(parent.id, child.id);
  }

  std::mt19937_64 random_;
};

// The planner itself checks that a step with live sequences computes something.
TEST_F(PlannerFuzz, NoneWaitsForEver) {
  int64_t preempted = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    random_.seed(seed);
    open_any();
    for (int64_t steps = 0, arrivals = 0; arrivals < 10 || !live_.empty(); ++steps) {
      if (arrivals < 10 && below(3) == 0) {
        arrive(1 + below(20), static_cast<int32_t>(below(3)));
        ++arrivals;
      }
      compute_step();
      preempted += flight_.plan.preempted;
      ASSERT_LT(steps, 10000);
    }
  }
  EXPECT_GT(preempted, 500);
}

TEST_F(PlannerTest, PromptsLeaveRowsToTheDraftsOfWhatDecodes) {
  open({.rows_max = 64, .sequences_max = 4, .draft_depth_max = 3}, 4, 1000);
  arrive(1);
  step();
  arrive(200);
  EXPECT_EQ(step(), (Planned{{1, 1}, {2, 60}}));
  EXPECT_EQ(flight_.plan.rows_left, 3);
  for (int i = 0; i < 3; ++i) step();
  arrive(200);
  EXPECT_EQ(step(), (Planned{{1, 1}, {2, 1}, {3, 56}}));  // an eighth of the step is 8
  EXPECT_EQ(flight_.plan.rows_left, 6);
}

}  // namespace
}  // namespace millrace
