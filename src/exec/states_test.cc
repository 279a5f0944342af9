#include <memory>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "exec/cache_plan.h"
#include "exec/fixed_sequences.h"
#include "exec/local.h"
#include "models/random.h"
#include "tests/fixtures/exec/logits_of.h"

namespace millrace {
namespace {

constexpr int32_t kStateTokens = 40;
constexpr int32_t kStateSequences = 3;
constexpr int32_t kStateBlock = 4;

// A hybrid, whose states have two units more than its sequences.
class StateGroups : public testing::Test {
 protected:
  StateGroups() {
    RandomModelShape shape;
    shape.architecture = "granitehybrid";
    shape.layers = 4;
    model_ = load_random_model(shape, {}, lanes_).value();
    const CachePlan plan = plan_cache(model_->spec(), DType::kF16, kStateBlock);
    LocalOptions options;
    options.block_tokens = kStateBlock;
    options.units = FixedSequences::units(plan.groups, kStateSequences, kStateTokens);
    for (size_t i = 0; i < plan.groups.size(); ++i) {
      if (plan.groups[i].kind != KvKind::kState) continue;
      state_group_ = static_cast<int32_t>(i);
      options.units[i] += 2;
    }
    options.rows_max = kStateSequences * kStateTokens;
    options.sequences_max = kStateSequences;
    executor_ = LocalExecutor::create(*model_, lanes_, options).value();
    std::mt19937 random(3);
    for (int32_t i = 0; i < kStateTokens; ++i) {
      tokens_.push_back(static_cast<TokenId>(random() % static_cast<uint32_t>(shape.vocab)));
    }
  }

  // Rows [from, kStateTokens) of a sequence.
  Batch rest_of(int32_t sequence, int32_t from) {
    FixedSequences sequences(executor_->capacity(), kStateTokens);
    sequences.add(sequence, from, std::span(tokens_).subspan(static_cast<size_t>(from)),
                  SliceWants::kAll);
    return sequences.batch();
  }
  // What `to` keeps of its first `tokens` tokens becomes what `from` keeps, its state that of
  // `unit`.
  void copy_into(Batch& batch, int32_t from, int32_t to, int32_t tokens, int32_t unit) const {
    batch.copies.push_back(
        {.group = state_group_, .from = BlockId{unit}, .to = BlockId{to}, .tokens = 0});
    for (int32_t block = 0; block * kStateBlock < tokens; ++block) {
      batch.copies.push_back({.group = 1 - state_group_,
                              .from = BlockId{block * kStateSequences + from},
                              .to = BlockId{block * kStateSequences + to},
                              .tokens = kStateBlock});
    }
  }
  std::vector<float> last_rows(const std::vector<float>& logits, int32_t rows) const {
    const auto vocab = static_cast<int64_t>(model_->spec().vocab_size);
    return {logits.end() - rows * vocab, logits.end()};
  }

  LanePool lanes_{2};
  std::unique_ptr<Model> model_;
  std::unique_ptr<LocalExecutor> executor_;
  int32_t state_group_ = -1;
  std::vector<TokenId> tokens_;
};

TEST_F(StateGroups, StatesOfALayerAreOneUnitOfTheSequence) {
  const std::vector<KvGroup>& groups = executor_->capacity().groups;
  ASSERT_EQ(groups.size(), 2U);
  ASSERT_GE(state_group_, 0);
  EXPECT_EQ(groups[static_cast<size_t>(state_group_)].units, kStateSequences + 2);
  EXPECT_EQ(groups[static_cast<size_t>(1 - state_group_)].window, 0);
  // Two recurrent layers: a convolution's last 3 inputs of 128 + 2 x 16 channels, and 16 numbers
  // for each of 128 channels.
  EXPECT_EQ(groups[static_cast<size_t>(state_group_)].unit_bytes,
            2 * 4 * (3 * (128 + 2 * 16) + 16 * 128));
}

TEST_F(StateGroups, ASequenceGoesOnFromStatesThatWereSavedWithinASlice) {
  Batch whole = rest_of(0, 0);
  whole.saves = {{.slice = 0, .rows = 8, .unit = BlockId{kStateSequences}},
                 {.slice = 0, .rows = 21, .unit = BlockId{kStateSequences + 1}}};
  const std::vector<float> expected = logits_of(*executor_, whole);
  for (const auto& [tokens, unit] :
       {std::pair(8, kStateSequences), std::pair(21, kStateSequences + 1)}) {
    for (const int32_t to : {1, 2}) {
      Batch rest = rest_of(to, tokens);
      copy_into(rest, 0, to, tokens, unit);
      EXPECT_EQ(logits_of(*executor_, rest), last_rows(expected, kStateTokens - tokens));
    }
  }
}

// A fork of a state is a copy: what the one does then does not reach the other.
TEST_F(StateGroups, ForksGoTheirOwnWays) {
  const std::vector<float> expected = logits_of(*executor_, rest_of(0, 0));
  FixedSequences sequences(executor_->capacity(), kStateTokens);
  sequences.add(1, 0, std::span(tokens_).first(17), SliceWants::kLast);
  logits_of(*executor_, sequences.batch());
  Batch fork = rest_of(2, 17);
  copy_into(fork, 1, 2, 17, 1);
  EXPECT_EQ(logits_of(*executor_, fork), last_rows(expected, kStateTokens - 17));
  EXPECT_EQ(logits_of(*executor_, rest_of(1, 17)), last_rows(expected, kStateTokens - 17));
}

// Nobody clears a unit before another sequence gets it.
TEST_F(StateGroups, AStateIsZeroWhereASequenceBegins) {
  const std::vector<float> first = logits_of(*executor_, rest_of(0, 0));
  EXPECT_EQ(logits_of(*executor_, rest_of(0, 0)), first);
}

// What a draft leaves behind, the state from before it undoes.
TEST_F(StateGroups, ASequenceGoesOnFromTheStateBeforeADraft) {
  constexpr int32_t kKnown = 17;
  constexpr int32_t kDrafted = 6;
  const std::vector<float> expected = logits_of(*executor_, rest_of(1, 0));
  std::vector<TokenId> drafted(tokens_.begin(), tokens_.begin() + kKnown);
  for (int32_t i = 0; i < kDrafted; ++i) drafted.push_back(tokens_[static_cast<size_t>(i)]);
  FixedSequences sequences(executor_->capacity(), kStateTokens);
  sequences.add(0, 0, drafted, SliceWants::kAll);
  Batch batch = sequences.batch();
  const std::vector<float> plain = logits_of(*executor_, batch);
  batch.slices[0].draft_rows = kDrafted;
  batch.parents.assign(kKnown, -1);
  for (int32_t i = 0; i < kDrafted; ++i) batch.parents.push_back(kKnown + i - 1);
  batch.saves = {{.slice = 0, .rows = kKnown, .unit = BlockId{kStateSequences}}};
  EXPECT_EQ(logits_of(*executor_, batch), plain);
  Batch rest = rest_of(0, kKnown);
  rest.copies = {
      {.group = state_group_, .from = BlockId{kStateSequences}, .to = BlockId{0}, .tokens = 0}};
  EXPECT_EQ(logits_of(*executor_, rest), last_rows(expected, kStateTokens - kKnown));
}

using StateGroupsDeathTest = StateGroups;

TEST_F(StateGroupsDeathTest, RefusesTwoStatesInOneUnit) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // the lanes are threads
  Batch batch = rest_of(0, 0);
  batch.saves = {{.slice = 0, .rows = 8, .unit = BlockId{0}}};
  EXPECT_DEATH(logits_of(*executor_, batch), "two states are written to one unit");
  batch.saves = {{.slice = 0, .rows = kStateTokens + 1, .unit = BlockId{1}}};
  EXPECT_DEATH(logits_of(*executor_, batch), "a state after 41 of 40 rows");
  batch.saves = {{.slice = 1, .rows = 1, .unit = BlockId{1}}};
  EXPECT_DEATH(logits_of(*executor_, batch), "saves of slices that the batch does not have");
  batch.saves.clear();
  batch.tables[static_cast<size_t>(state_group_)].values[0] = BlockId{kStateSequences + 2};
  EXPECT_DEATH(logits_of(*executor_, batch), "state 5 of 5");
}

}  // namespace
}  // namespace millrace
