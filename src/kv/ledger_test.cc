#include "kv/ledger.h"

#include <random>

#include <gtest/gtest.h>

#include "tests/fixtures/kv/ledger_rig.h"

namespace millrace {
namespace {

KvGroup group(int32_t block_tokens, int64_t blocks) {
  KvGroup group;
  group.block_tokens = block_tokens;
  group.units = blocks;
  return group;
}

class LedgerTest : public LedgerRig {
 protected:
  void open(int32_t block_tokens, int64_t blocks, bool prefix_caching = true) {
    LedgerRig::open({group(block_tokens, blocks)}, {.prefix_caching = prefix_caching});
  }
};

TEST_F(LedgerTest, RefusesLayoutsItCannotHold) {
  EXPECT_TRUE(Ledger::supports(std::vector{group(16, 4), group(16, 8)}).ok());
  EXPECT_EQ(Ledger::supports({}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Ledger::supports(std::vector{group(16, 0)}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Ledger::supports(std::vector{group(16, 4), group(8, 4)}).code(),
            absl::StatusCode::kUnimplemented);
  KvGroup window = group(16, 4);
  window.window = -1;
  EXPECT_EQ(Ledger::supports(std::vector{window}).code(), absl::StatusCode::kInvalidArgument);
  KvGroup state = group(16, 4);
  state.kind = KvKind::kState;
  EXPECT_TRUE(Ledger::supports(std::vector{state, group(16, 4)}).ok());
  EXPECT_EQ(Ledger::supports(std::vector{state, state}).code(), absl::StatusCode::kUnimplemented);
}

TEST_F(LedgerTest, GrowsAsFarAsThereIsRoom) {
  open(4, 3, false);
  Sequence& sequence = arrive(std::vector<TokenId>(10, 7));
  EXPECT_EQ(ledger_->place(sequence, 6), 6);
  EXPECT_EQ(ledger_->held(0), 2);
  sequence.tokens.resize(40, 7);
  EXPECT_EQ(ledger_->place(sequence, 40), 12);
  ledger_->release(sequence.id);
  EXPECT_EQ(ledger_->held(0), 0);
  ledger_->check_integrity();
}

TEST_F(LedgerTest, LetsInOnlyWhatFitsWhole) {
  open(4, 3, false);
  Sequence& sequence = arrive(std::vector<TokenId>(9, 7));
  EXPECT_EQ(ledger_->place(sequence, 1, /*spare=*/{1}), 0);
  EXPECT_FALSE(ledger_->holds(sequence.id));
  EXPECT_EQ(sequence.cached, -1);
  EXPECT_EQ(ledger_->place(sequence, 1), 1);
}

TEST_F(LedgerTest, SharesFullBlocksAndCopiesTheBeginningOfOne) {
  open(4, 16);
  Sequence& first = arrive({1, 2, 3, 4, 5, 6, 7, 8, 9});
  compute(first, 9);
  Sequence& second = arrive({1, 2, 3, 4, 5, 6, 0, 0, 0});
  const Batch batch = compute(second, 9);
  EXPECT_EQ(second.cached, 6);
  ASSERT_EQ(batch.copies.size(), 1U);
  EXPECT_EQ(batch.copies[0].tokens, 2);
  EXPECT_EQ(batch.slices[0].write_from, 6);
  EXPECT_EQ(batch.tables[0].row(0).size(), 3U);
  EXPECT_EQ(ledger_->held(0), 5);  // 3, and 2 of its own
}

TEST_F(LedgerTest, ComputesTheLastTokenOfAPromptItHasWhole) {
  open(4, 8);
  Sequence& first = arrive({1, 2, 3, 4});
  compute(first, 4);
  Sequence& second = arrive({1, 2, 3, 4});
  const Batch batch = compute(second, 4);
  EXPECT_EQ(second.cached, 3);
  EXPECT_TRUE(batch.copies.empty());
  EXPECT_EQ(batch.slices[0].rows, 1);
  EXPECT_EQ(batch.slices[0].write_from, 4);  // the row is computed, and not stored again
  EXPECT_EQ(ledger_->held(0), 1);
}

TEST_F(LedgerTest, ComputesRowsThatAreAskedFor) {
  open(4, 8);
  compute(arrive({1, 2, 3, 4, 5}), 5);
  Sequence& second = arrive({1, 2, 3, 4, 5}, 0, /*scores=*/0);
  EXPECT_EQ(ledger_->place(second, 5), 5);
  EXPECT_EQ(second.cached, 0);
  EXPECT_EQ(ledger_->held(0), 3);  // the full block is shared all the same
}

TEST_F(LedgerTest, KeepsSaltsApart) {
  open(2, 8);
  compute(arrive({1, 2, 3}, 5), 3);
  Sequence& other = arrive({1, 2, 3}, 6);
  compute(other, 3);
  EXPECT_EQ(other.cached, 0);
  Sequence& same = arrive({1, 2, 3}, 5);
  compute(same, 3);
  EXPECT_EQ(same.cached, 2);
}

TEST_F(LedgerTest, FindsNothingWithoutPrefixCaching) {
  open(2, 8, false);
  compute(arrive({1, 2, 3}), 3);
  Sequence& same = arrive({1, 2, 3});
  compute(same, 3);
  EXPECT_EQ(same.cached, 0);
}

TEST_F(LedgerTest, ForksPartWhereTheyWrite) {
  for (const bool caching : {false, true}) {
    open(4, 8, caching);
    Sequence& parent = arrive({1, 2, 3, 4, 5, 6});
    compute(parent, 6);
    Sequence& child = arrive({1, 2, 3, 4, 5, 6, 1});
    child.computed = parent.computed;
    ledger_->fork(parent.id, child.id);
    EXPECT_EQ(ledger_->held(0), 2);
    const Batch batch = compute(child, 1);
    ASSERT_EQ(batch.copies.size(), 1U);
    EXPECT_EQ(batch.copies[0].tokens, 2);
    EXPECT_EQ(ledger_->held(0), 3);
    EXPECT_TRUE(compute(parent, 1).copies.empty());  // alone with its block again
  }
}

TEST_F(LedgerTest, TheLastOfForksWritesInPlace) {
  for (const int64_t forks : {2, 3, 8}) {
    open(4, 32);
    Sequence& parent = arrive({1, 2, 3, 4, 5, 6});
    compute(parent, 6);
    std::vector<Sequence*> all = {&parent};
    while (std::ssize(all) < forks) {
      Sequence& child = arrive({1, 2, 3, 4, 5, 6, 1});
      child.computed = parent.computed;
      ledger_->fork(parent.id, child.id);
      all.push_back(&child);
    }
    Batch batch;
    for (Sequence* sequence : all) {
      EXPECT_EQ(ledger_->place(*sequence, 1), 1);
      batch.slices.push_back({.sequence = sequence->id, .rows = 1});
      ledger_->check_integrity();
    }
    ledger_->drain(batch);
    ledger_->check_integrity();
    EXPECT_EQ(std::ssize(batch.copies), forks - 1);
    EXPECT_EQ(ledger_->held(0), 1 + forks);
  }
}

TEST_F(LedgerTest, SaysWhetherOthersMakeRoom) {
  open(4, 4, false);
  Sequence& first = arrive(std::vector<TokenId>(8, 1));
  Sequence& second = arrive(std::vector<TokenId>(8, 2));
  compute(first, 8);
  compute(second, 8);
  Sequence& large = arrive(std::vector<TokenId>(12, 3));
  Sequence* const both[] = {&second, &first};
  const auto one = std::span(both).first(1);
  EXPECT_FALSE(ledger_->has_room_without(one, large, {}));
  EXPECT_TRUE(ledger_->has_room_without(both, large, {}));
  EXPECT_FALSE(ledger_->has_room_without(both, large, {2}));
  EXPECT_TRUE(ledger_->has_room_without(one, first, {}));
  ledger_->preempt(second);
  EXPECT_EQ(ledger_->place(first, 1), 1);
}

// Blocks that two share are free only when both go, and what a newcomer would begin with is its
// own.
TEST_F(LedgerTest, CountsSharedBlocksOnceAllHoldersGo) {
  open(2, 3);
  Sequence& parent = arrive({1, 2, 3, 4, 5});
  compute(parent, 5);
  Sequence& child = arrive({1, 2, 3, 4, 5, 6});
  child.computed = parent.computed;
  ledger_->fork(parent.id, child.id);
  Sequence* const both[] = {&child, &parent};
  Sequence& newcomer = arrive({7, 7, 7});
  EXPECT_FALSE(ledger_->has_room_without(std::span(both).first(1), newcomer, {}));
  EXPECT_TRUE(ledger_->has_room_without(both, newcomer, {}));
  Sequence& like_them = arrive({1, 2, 7, 7, 7, 7});
  EXPECT_TRUE(ledger_->has_room_without(both, like_them, {}));
  EXPECT_FALSE(ledger_->has_room_without(both, like_them, {1}));
  // Alone with the block that they share, the parent needs no other.
  EXPECT_EQ(ledger_->place(parent, 1), 0);
  EXPECT_TRUE(ledger_->has_room_without(std::span(both).first(1), parent, {}));
}

TEST_F(LedgerTest, FindsAgainWhatItTookAway) {
  open(2, 4);
  Sequence& sequence = arrive({1, 2, 3, 4, 5});
  compute(sequence, 5);
  ledger_->preempt(sequence);
  EXPECT_EQ(sequence.computed, 0);
  EXPECT_EQ(ledger_->held(0), 0);
  EXPECT_EQ(ledger_->place(sequence, 6), 2);
  EXPECT_EQ(sequence.computed, 4);
}

TEST_F(LedgerTest, EvictsForNewcomers) {
  open(2, 3);
  Sequence& old = arrive({1, 2, 3, 4, 5});
  compute(old, 5);
  ledger_->release(old.id);
  Sequence& newcomer = arrive({7, 7, 7, 7, 7});
  EXPECT_EQ(ledger_->place(newcomer, 5), 5);
  ledger_->check_integrity();
}

TEST_F(LedgerTest, DropsCopiesOfASequenceThatLeavesBeforeTheyAreMade) {
  open(4, 4);
  Sequence& first = arrive({1, 2, 3, 4, 5});
  compute(first, 5);
  ledger_->release(first.id);
  Sequence& second = arrive({1, 2, 0, 0});
  EXPECT_EQ(ledger_->place(second, 2), 2);
  ledger_->check_integrity();
  ledger_->preempt(second);
  ledger_->check_integrity();
  Batch batch;
  ledger_->drain(batch);
  EXPECT_TRUE(batch.copies.empty());
  EXPECT_EQ(ledger_->held(0), 0);
}

TEST_F(LedgerTest, StepsThatAreNotSettledCanBeTakenBack) {
  open(4, 9);
  Sequence& sequence = arrive({1, 2, 3, 4, 5});
  compute(sequence, 4);
  for (const TokenId guess : {6, 7, 8, 9, 1, 2}) {
    ASSERT_EQ(ledger_->place(sequence, 1), 1);
    Batch batch;
    batch.slices.push_back({.sequence = sequence.id, .rows = 1});
    ledger_->drain(batch);
    EXPECT_EQ(batch.slices[0].write_from, 4);
    sequence.advance(1);
    sequence.tokens.push_back(guess);
    ledger_->check_integrity();
  }
  EXPECT_EQ(ledger_->held(0), 3);
  // Two of the guesses hold, and another token comes.
  sequence.tokens = {1, 2, 3, 4, 5, 6, 7, 3};
  sequence.computed = 7;
  ledger_->settle(sequence);
  ledger_->check_integrity();
  EXPECT_EQ(ledger_->held(0), 2);
  ledger_->release(sequence.id);
  // Nobody finds what was taken back.
  Sequence& other = arrive({1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2});
  ledger_->look_up(other);
  EXPECT_EQ(other.findable, 4);
}

}  // namespace
}  // namespace millrace
