#include <algorithm>
#include <limits>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "kv/ledger.h"
#include "tests/fixtures/kv/ledger_rig.h"

// Groups that forget: windows and states.

namespace millrace {
namespace {

KvGroup whole_group(int64_t units) { return {.block_tokens = 2, .units = units}; }
KvGroup window_group(int32_t window, int64_t units) {
  return {.block_tokens = 2, .window = window, .units = units};
}
KvGroup state_group(int64_t units) {
  return {.kind = KvKind::kState, .block_tokens = 2, .units = units};
}

std::vector<TokenId> counted(int64_t tokens, TokenId first = 1) {
  std::vector<TokenId> out(static_cast<size_t>(tokens));
  std::iota(out.begin(), out.end(), first);
  return out;
}

class LedgerGroups : public LedgerRig {
 protected:
  // Which entries of the first slice's table are there.
  static std::string entries(const Batch& batch, size_t group) {
    std::string out;
    for (const BlockId unit : batch.tables[group].row(0)) out += unit.valid() ? 'x' : '.';
    return out;
  }
  static std::vector<int32_t> rows_of_saves(const Batch& batch) {
    std::vector<int32_t> rows;
    for (const StateSave& save : batch.saves) rows.push_back(save.rows);
    return rows;
  }
  // Computes all that it knows, `tokens` more one by one, and lets it go.
  void answer(Sequence& sequence, int64_t tokens) {
    while (sequence.pending() > 1) compute(sequence, sequence.pending());
    for (int64_t i = 0; i < tokens; ++i) compute(sequence, 1);
    ledger_->release(sequence.id);
  }
};

TEST(BlocksPerSequence, AreThoseThatAWindowAndAStepTouch) {
  const auto blocks = [](int32_t block_tokens, int32_t window, int64_t rows, int64_t context) {
    const KvGroup group{.block_tokens = block_tokens, .window = window};
    return blocks_per_sequence(group, rows, context);
  };
  EXPECT_EQ(blocks(16, 0, 512, 100), 7);
  EXPECT_EQ(blocks(16, 1, 1, 1000), 1);
  EXPECT_EQ(blocks(16, 2, 1, 1000), 2);
  EXPECT_EQ(blocks(16, 17, 1, 1000), 2);
  EXPECT_EQ(blocks(16, 18, 1, 1000), 3);
  EXPECT_EQ(blocks(16, 4096, 512, 32768), 4096 / 16 + 512 / 16 + 1);
  EXPECT_EQ(blocks(16, 4096, 512, 1000), 63);
  EXPECT_EQ(blocks_per_sequence({.kind = KvKind::kState}, 512, 1000), 1);
}

TEST(LongestSequence, IsBoundedByWhatKeepsAllTokens) {
  constexpr int64_t kForEver = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(Ledger::longest_sequence(std::vector{whole_group(9), whole_group(7)}), 14);
  EXPECT_EQ(Ledger::longest_sequence(std::vector{whole_group(9), window_group(4, 3)}), 18);
  EXPECT_EQ(Ledger::longest_sequence(std::vector{window_group(4, 3), state_group(1)}), kForEver);
  EXPECT_EQ(Ledger::longest_sequence(std::vector{window_group(4, 2)}), 4);
}

TEST_F(LedgerGroups, BlocksBehindAWindowGoBack) {
  for (const bool caching : {false, true}) {
    open({whole_group(20), window_group(5, 20)}, {.prefix_caching = caching});
    Sequence& sequence = arrive(counted(20));
    EXPECT_EQ(entries(compute(sequence, 8), 1), "xxxx");
    EXPECT_EQ(ledger_->held(1), 2);  // the next row reads tokens 4 to 8
    const Batch batch = compute(sequence, 3);
    EXPECT_EQ(entries(batch, 0), "xxxxxx");
    EXPECT_EQ(entries(batch, 1), "..xxxx");
    EXPECT_EQ(ledger_->held(0), 6);
    EXPECT_EQ(ledger_->held(1), 3);
    EXPECT_EQ(ledger_->idle(1), caching ? 3 : 0);
  }
}

TEST_F(LedgerGroups, AWindowsPoolNeedsNoMoreThanTheWindow) {
  open({whole_group(50), window_group(4, 3)});
  Sequence& sequence = arrive(counted(60));
  for (int64_t steps = 0; sequence.computed < 60; ++steps) {
    ASSERT_GT(ledger_->place(sequence, 60), 0);
    compute(sequence, 60);
    ASSERT_LT(steps, 60);
  }
  EXPECT_EQ(ledger_->held(0), 30);
  EXPECT_LE(ledger_->held(1), 2);
}

TEST_F(LedgerGroups, ANewcomerIsLetInByEachGroup) {
  open({whole_group(20), window_group(4, 5), state_group(3)});
  Sequence& first = arrive(counted(10));
  compute(first, 10);
  EXPECT_EQ(ledger_->reserve(first)[0], 1);  // it knows a token more
  EXPECT_EQ(ledger_->reserve(first)[1], 1);
  EXPECT_EQ(ledger_->reserve(first)[2], 0);
  Sequence& second = arrive(counted(10, 100));
  EXPECT_EQ(ledger_->place(second, 1, {15}), 0);
  EXPECT_EQ(ledger_->place(second, 1, {0, 1}), 0);
  EXPECT_EQ(ledger_->place(second, 1, {0, 0, 2}), 0);
  EXPECT_FALSE(ledger_->holds(second.id));
  EXPECT_EQ(ledger_->place(second, 1, {10, 0, 1}), 1);
}

TEST_F(LedgerGroups, APrefixIsFoundWhileItsWindowIsThere) {
  open({whole_group(20), window_group(4, 7)});
  answer(arrive(counted(13)), 0);
  Sequence& same = arrive(counted(13));
  ledger_->look_up(same);
  EXPECT_EQ(same.findable, 12);
  Sequence& shorter = arrive(counted(8));
  ledger_->look_up(shorter);
  EXPECT_EQ(shorter.findable, 6);  // not 7: the last row's window would not be whole

  // Takes the blocks that were idle longest: those of the beginning.
  Sequence& other = arrive(counted(5, 50));
  answer(other, 0);
  ledger_->look_up(shorter);
  EXPECT_EQ(shorter.findable, 0);
  ledger_->look_up(same);
  EXPECT_EQ(same.findable, 12);
  const Batch batch = compute(same, 13);
  EXPECT_EQ(same.cached, 12);
  EXPECT_EQ(entries(batch, 0), "xxxxxxx");
  EXPECT_EQ(entries(batch, 1), "....xxx");
  EXPECT_GT(ledger_->evictions(1), 0);
  EXPECT_EQ(ledger_->evictions(0), 0);
}

// Where a row is asked for, what it reads must be there: a window is not found from its middle on.
TEST_F(LedgerGroups, RowsThatAreAskedForAreComputedFromWhatIsThere) {
  open({whole_group(20), window_group(4, 20)});
  answer(arrive(counted(10)), 0);
  Sequence& scored = arrive(counted(10), 0, /*scores=*/0);
  const Batch batch = compute(scored, 10);
  EXPECT_EQ(scored.cached, 0);
  EXPECT_EQ(batch.slices[0].write_from, 0);
  EXPECT_EQ(entries(batch, 1), "xxxxx");
}

TEST_F(LedgerGroups, PartialBlocksAreCopiedInAllGroups) {
  open({whole_group(20), {.block_tokens = 2, .window = 4, .units = 20}});
  answer(arrive({1, 2, 3, 4, 5, 6}), 0);
  Sequence& other = arrive({1, 2, 3, 9, 9});
  const Batch batch = compute(other, 5);
  EXPECT_EQ(other.cached, 3);
  ASSERT_EQ(batch.copies.size(), 2U);
  EXPECT_EQ(batch.copies[0].group, 0);
  EXPECT_EQ(batch.copies[1].group, 1);
}

TEST_F(LedgerGroups, APromptsStateIsKept) {
  open({state_group(4)}, {.state_snapshot_tokens = 0});
  Sequence& first = arrive(counted(8));
  const Batch batch = compute(first, 8);
  EXPECT_EQ(batch.tables[0].row(0).size(), 1U);
  EXPECT_TRUE(batch.copies.empty());
  EXPECT_EQ(rows_of_saves(batch), (std::vector<int32_t>{6, 8}));
  EXPECT_EQ(ledger_->held(0), 1);
  EXPECT_EQ(ledger_->idle(0), 2);

  Sequence& same = arrive(counted(8));
  const Batch again = compute(same, 8);
  EXPECT_EQ(same.cached, 6);
  ASSERT_EQ(again.copies.size(), 1U);
  EXPECT_EQ(again.copies[0].from, batch.saves[0].unit);
  EXPECT_EQ(again.copies[0].to, again.tables[0].row(0)[0]);
  EXPECT_EQ(again.slices[0].rows, 2);
  Sequence& longer = arrive(counted(11));
  compute(longer, 11);
  EXPECT_EQ(longer.cached, 8);
}

TEST_F(LedgerGroups, StatesAreKeptEverySoOften) {
  open({whole_group(20), state_group(20)}, {.state_snapshot_tokens = 5});  // 6, in blocks
  Sequence& sequence = arrive(counted(20));
  EXPECT_EQ(rows_of_saves(compute(sequence, 7)), (std::vector<int32_t>{6}));
  EXPECT_EQ(rows_of_saves(compute(sequence, 13)), (std::vector<int32_t>{5, 11, 13}));
  EXPECT_EQ(rows_of_saves(compute(sequence, 1)), std::vector<int32_t>{});
  Sequence& branch = arrive({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 90, 91});
  compute(branch, 15);
  EXPECT_EQ(branch.cached, 12);
}

TEST_F(LedgerGroups, TheLastStateIsWorthMost) {
  open({state_group(2)}, {.state_snapshot_tokens = 2});
  Sequence& sequence = arrive(counted(9));
  EXPECT_EQ(rows_of_saves(compute(sequence, 9)), (std::vector<int32_t>{8}));
}

// One snapshot goes along with each answer, and the next turn begins with it.
TEST_F(LedgerGroups, TheEndOfAnAnswerIsFound) {
  open({state_group(8)}, {.state_snapshot_tokens = 0});
  Sequence& first = arrive(counted(5));
  compute(first, 5);
  EXPECT_EQ(ledger_->idle(0), 1);  // where the prompt ends
  for (int i = 0; i < 7; ++i) {
    compute(first, 1);
    EXPECT_EQ(ledger_->idle(0), 2);
  }
  Sequence& next = arrive(first.tokens);
  next.tokens.push_back(77);
  ledger_->release(first.id);
  ledger_->look_up(next);
  EXPECT_EQ(next.findable, 12);
  Sequence& again = arrive(counted(5));
  ledger_->look_up(again);
  EXPECT_EQ(again.findable, 4);
}

// Where there are few, those that go along do not push out those that stay.
TEST_F(LedgerGroups, SnapshotsThatMoveLeaveOthersAlone) {
  open({state_group(4)}, {.state_snapshot_tokens = 0});
  Sequence& first = arrive(counted(5));
  Sequence& second = arrive(counted(5, 50));
  compute(first, 5);
  compute(second, 5);  // now every state is held, or kept where a prompt ends
  for (int i = 0; i < 9; ++i) {
    compute(first, 1);
    compute(second, 1);
  }
  for (const TokenId begin : {1, 50}) {
    Sequence& again = arrive(counted(5, begin));
    ledger_->look_up(again);
    EXPECT_EQ(again.findable, 4);
  }
}

// One that a fork goes on from is its parent's.
TEST_F(LedgerGroups, AForkLeavesItsParentsSnapshot) {
  open({state_group(9)}, {.state_snapshot_tokens = 0});
  Sequence& parent = arrive(counted(3));
  compute(parent, 3);
  compute(parent, 1);
  Sequence& child = fork(parent);
  child.tokens.back() = 9;
  for (int i = 0; i < 3; ++i) compute(child, 1);
  Sequence& like_parent = arrive({1, 2, 3, 1, 7, 7});
  ledger_->look_up(like_parent);
  EXPECT_EQ(like_parent.findable, 4);
  Sequence& like_child = arrive(child.tokens);
  ledger_->look_up(like_child);
  EXPECT_EQ(like_child.findable, 6);
}

TEST_F(LedgerGroups, PreemptionLosesLessThanABlock) {
  open({whole_group(20), state_group(3)}, {.state_snapshot_tokens = 0});
  Sequence& sequence = arrive(counted(6));
  compute(sequence, 6);
  for (int i = 0; i < 5; ++i) compute(sequence, 1);
  ledger_->preempt(sequence);
  EXPECT_EQ(sequence.findable, 10);
  const Batch batch = compute(sequence, 9);
  EXPECT_EQ(batch.slices[0].rows, 2);
  EXPECT_EQ(batch.slices[0].write_from, 10);
}

TEST_F(LedgerGroups, AStateIsNeverSharedBetweenWriters) {
  for (const int64_t forks : {2, 3, 5}) {
    open({state_group(10)}, {.prefix_caching = false});
    Sequence& parent = arrive(counted(5));
    compute(parent, 5);
    std::vector<Sequence*> all = {&parent};
    while (std::ssize(all) < forks) all.push_back(&fork(parent));
    EXPECT_EQ(ledger_->held(0), 1);
    EXPECT_EQ(ledger_->reserve(parent)[0], 1);
    Batch batch;
    for (Sequence* sequence : all) {
      EXPECT_EQ(ledger_->place(*sequence, 1), 1);
      batch.slices.push_back({.sequence = sequence->id, .rows = 1});
      ledger_->check_integrity();
    }
    ledger_->drain(batch);
    EXPECT_EQ(std::ssize(batch.copies), forks - 1);  // the last goes on in place
    EXPECT_EQ(ledger_->held(0), forks);
    EXPECT_EQ(ledger_->reserve(parent)[0], 0);
  }
}

TEST_F(LedgerGroups, AForkThatLacksAStateGetsItOfWhoLeaves) {
  open({whole_group(20), state_group(1)}, {.prefix_caching = false});
  Sequence& parent = arrive(counted(5));
  compute(parent, 5);
  Sequence& child = fork(parent);
  EXPECT_EQ(ledger_->place(parent, 1), 0);
  Sequence* const victims[] = {&child};
  EXPECT_TRUE(ledger_->has_room_without(victims, parent, {}));
  ledger_->preempt(child);
  EXPECT_EQ(ledger_->place(parent, 1), 1);
}

// Blocks alone are no room for one that lacks a state.
TEST_F(LedgerGroups, RoomIsCountedInEachGroup) {
  open({whole_group(20), state_group(2)}, {.prefix_caching = false});
  Sequence& first = arrive(counted(5));
  Sequence& second = arrive(counted(5));
  compute(first, 5);
  compute(second, 5);
  Sequence& newcomer = arrive(counted(5));
  EXPECT_EQ(ledger_->place(newcomer, 1), 0);
  Sequence* const victims[] = {&second};
  EXPECT_FALSE(ledger_->has_room_without({}, newcomer, {}));
  EXPECT_TRUE(ledger_->has_room_without(victims, newcomer, {}));
  EXPECT_FALSE(ledger_->has_room_without(victims, newcomer, {0, 1}));
}

TEST_F(LedgerGroups, TheLastStateThatIsLeftBecomesTheSequences) {
  open({state_group(2)}, {.state_snapshot_tokens = 0});
  answer(arrive(counted(5)), 0);
  compute(arrive(counted(1, 50)), 1);
  EXPECT_EQ(ledger_->idle(0), 1);
  Sequence& same = arrive(counted(5));
  const Batch batch = compute(same, 5);
  EXPECT_EQ(same.cached, 4);
  EXPECT_TRUE(batch.copies.empty());
  EXPECT_EQ(ledger_->held(0), 2);
  EXPECT_EQ(ledger_->idle(0), 0);
}

TEST_F(LedgerGroups, WhatIsNotSettledIsGivenBack) {
  open({state_group(6)}, {.state_snapshot_tokens = 2});
  Sequence& sequence = arrive(counted(9));
  EXPECT_EQ(ledger_->place(sequence, 9), 9);
  Batch batch;
  batch.slices.push_back({.sequence = sequence.id, .rows = 9});
  ledger_->drain(batch);
  EXPECT_EQ(ledger_->held(0), 5);
  ledger_->check_integrity();
  ledger_->release(sequence.id);
  ledger_->check_integrity();
  EXPECT_EQ(ledger_->held(0), 0);
  EXPECT_EQ(ledger_->idle(0), 0);
}

TEST_F(LedgerGroups, AFullTreeForgetsWhatIsIdle) {
  open({state_group(20)}, {.state_snapshot_tokens = 0, .nodes_max = 5});
  answer(arrive(counted(7)), 0);
  answer(arrive(counted(5, 50)), 0);
  Sequence& recent = arrive(counted(9, 70));
  answer(recent, 0);
  Sequence& same = arrive(counted(9, 70));
  ledger_->look_up(same);
  EXPECT_EQ(same.findable, 8);
  Sequence& old = arrive(counted(7));
  ledger_->look_up(old);
  EXPECT_EQ(old.findable, 0);
  // Longer than the tree: nothing of it can be kept.
  Sequence& longer = arrive(counted(20, 200));
  answer(longer, 0);
  EXPECT_EQ(ledger_->idle(0), 0);
}

// A newcomer waits for what another is computing only where it will find it.
TEST_F(LedgerGroups, SharingIsForeseenWhereStatesAreKept) {
  open({whole_group(20), state_group(6)}, {.state_snapshot_tokens = 8});
  Sequence& running = arrive(counted(16));
  compute(running, 3);
  EXPECT_TRUE(ledger_->will_share(arrive(counted(16)), running));
  EXPECT_TRUE(ledger_->will_share(arrive(counted(9)), running));
  EXPECT_FALSE(ledger_->will_share(arrive(counted(7)), running));
  compute(running, 6);
  EXPECT_FALSE(ledger_->will_share(arrive(counted(9)), running));
}

// Few tokens, small blocks and small pools, so that everything collides.
class LedgerFuzz : public LedgerRig {
 protected:
  int64_t below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  bool one_in(int64_t n) { return below(n) == 0; }

  void open_any() {
    const auto block_tokens = static_cast<int32_t>(1 + below(4));
    std::vector<KvGroup> groups;
    const auto add = [&](KvKind kind, int32_t window) {
      groups.push_back({kind, block_tokens, window, 1 + below(24)});
    };
    if (!one_in(3)) add(KvKind::kTokens, 0);
    if (one_in(2)) add(KvKind::kTokens, static_cast<int32_t>(1 + below(9)));
    if (one_in(4)) add(KvKind::kTokens, 1);
    if (one_in(2) || groups.empty()) add(KvKind::kState, 0);
    open(groups, {.prefix_caching = !one_in(4),
                  .state_snapshot_tokens = below(6),
                  .nodes_max = static_cast<int32_t>(1 + below(40))});
    sequences_.clear();
    live_.clear();
  }

  void step() {
    const int64_t dice = below(10);
    if (live_.size() < 6 && dice < 3) {
      std::vector<TokenId> prompt(static_cast<size_t>(1 + below(16)));
      for (TokenId& token : prompt) token = static_cast<TokenId>(below(2));
      const int32_t scores = one_in(5) ? 0 : kNoLogprobs;
      live_.push_back(&arrive(std::move(prompt), static_cast<uint64_t>(below(2)), scores));
    }
    if (live_.empty()) return;
    const auto chosen = live_.begin() + below(std::ssize(live_));
    Sequence& sequence = **chosen;
    if (dice == 9) {
      ledger_->release(sequence.id);
      live_.erase(chosen);
    } else if (dice == 8) {
      ledger_->preempt(sequence);
    } else if (dice == 7 && ledger_->holds(sequence.id) && sequence.pending() == 1) {
      live_.push_back(&fork(sequence));
    } else if (compute(sequence, 1 + below(7)).slices.empty()) {
      preempt_some_for(sequence);
    }
  }

  // The sequence gets room exactly where it was said to.
  void preempt_some_for(Sequence& sequence) {
    std::vector<Sequence*> victims;
    for (Sequence* other : live_) {
      if (other != &sequence && ledger_->holds(other->id) && one_in(2)) victims.push_back(other);
    }
    UnitCounts spare;
    for (int32_t g = 0; g < std::ssize(ledger_->groups()); ++g) spare.add(g, below(3));
    const bool has_room = ledger_->has_room_without(victims, sequence, spare);
    for (Sequence* victim : victims) ledger_->preempt(*victim);
    EXPECT_EQ(ledger_->place(sequence, 1, spare) > 0, has_room);
    (has_room ? made_room_ : made_none_) += 1;
    ledger_->preempt(sequence);
  }

  std::mt19937_64 random_;
  std::vector<Sequence*> live_;
  int64_t made_room_ = 0, made_none_ = 0;
};

TEST_F(LedgerFuzz, KeepsItsBooksWhateverComes) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    random_.seed(seed);
    open_any();
    for (int i = 0; i < 300; ++i) {
      step();
      ledger_->check_integrity();
    }
    for (const Sequence* sequence : live_) ledger_->release(sequence->id);
    ledger_->check_integrity();
    for (int32_t g = 0; g < std::ssize(ledger_->groups()); ++g) EXPECT_EQ(ledger_->held(g), 0);
    if (HasFailure()) return;
  }
  EXPECT_GT(made_room_, 1000);
  EXPECT_GT(made_none_, 1000);
}

}  // namespace
}  // namespace millrace
