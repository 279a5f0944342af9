#include "core/draft.h"

#include <algorithm>
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

constexpr int32_t kDraftTokens = 80;  // of a sequence, those of a draft included
constexpr int32_t kDraftSequences = 3;

// A sequence that computes its known tokens from `computed` on, and a draft.
struct DraftedSequence {
  std::vector<TokenId> known;
  int32_t computed = 0;
  std::vector<DraftNode> nodes;

  int32_t known_rows() const { return static_cast<int32_t>(known.size()) - computed; }
  int32_t rows() const { return known_rows() + static_cast<int32_t>(nodes.size()); }
  std::vector<TokenId> path_to(int32_t node) const {
    if (node < 0) return known;
    const DraftNode& last = nodes[static_cast<size_t>(node)];
    std::vector<TokenId> path = path_to(last.parent);
    path.push_back(last.token);
    return path;
  }
  // The tokens that the slice's row follows, its own at the end.
  std::vector<TokenId> tokens_of_row(int32_t row) const {
    if (row >= known_rows()) return path_to(row - known_rows());
    return {known.begin(), known.begin() + computed + row + 1};
  }
};

class DraftRun {
 public:
  DraftRun(const RandomModelShape& shape, DType cache, int threads, int32_t block_tokens)
      : lanes_(threads), model_(load_random_model(shape, {}, lanes_).value()) {
    LocalOptions options;
    options.kv_dtype = cache;
    options.block_tokens = block_tokens;
    options.units = FixedSequences::units(plan_cache(model_->spec(), cache, block_tokens).groups,
                                          kDraftSequences, kDraftTokens);
    options.rows_max = kDraftSequences * kDraftTokens;
    options.sequences_max = kDraftSequences;
    executor_ = LocalExecutor::create(*model_, lanes_, options).value();
  }

  // Every row is wanted.
  Batch batch_of(const std::vector<DraftedSequence>& sequences) const {
    FixedSequences fixed(executor_->capacity(), kDraftTokens);
    for (size_t s = 0; s < sequences.size(); ++s) {
      const DraftedSequence& sequence = sequences[s];
      std::vector<TokenId> tokens(sequence.known.begin() + sequence.computed, sequence.known.end());
      for (const DraftNode& node : sequence.nodes) tokens.push_back(node.token);
      fixed.add(static_cast<int32_t>(s), sequence.computed, tokens, SliceWants::kAll);
    }
    Batch batch = fixed.batch();
    batch.parents.assign(batch.tokens.size(), -1);
    for (size_t s = 0; s < sequences.size(); ++s) {
      SliceHead& head = batch.slices[s];
      head.draft_rows = static_cast<int32_t>(sequences[s].nodes.size());
      const int32_t draft = head.row + head.rows - head.draft_rows;
      for (int32_t i = 0; i < head.draft_rows; ++i) {
        const auto row = static_cast<size_t>(draft + i);
        batch.parents[row] = draft + sequences[s].nodes[static_cast<size_t>(i)].parent;
        batch.positions[row] = batch.positions[static_cast<size_t>(batch.parents[row])] + 1;
      }
    }
    return batch;
  }
  std::vector<float> logits(const Batch& batch) { return logits_of(*executor_, batch); }
  // Of a plain sequence's last token.
  std::vector<float> logits_after(std::span<const TokenId> tokens) {
    FixedSequences fixed(executor_->capacity(), kDraftTokens);
    fixed.add(0, 0, tokens, SliceWants::kLast);
    return logits_of(*executor_, fixed.batch());
  }

 private:
  LanePool lanes_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<LocalExecutor> executor_;
};

class DraftMaker {
 public:
  DraftMaker(uint32_t seed, int64_t vocab) : random_(seed), vocab_(static_cast<uint32_t>(vocab)) {}

  void add_tokens(int32_t count, std::vector<TokenId>& tokens) {
    for (int32_t i = 0; i < count; ++i) tokens.push_back(token());
  }
  // Half of the nodes follow the one before, the others any.
  std::vector<DraftNode> tree(int32_t count) {
    std::vector<DraftNode> nodes;
    for (int32_t i = 0; i < count; ++i) {
      const int32_t any = static_cast<int32_t>(below(static_cast<uint32_t>(i) + 1)) - 1;
      nodes.push_back({.token = token(), .parent = below(2) == 0 ? i - 1 : any});
    }
    return nodes;
  }
  std::vector<DraftNode> chain(int32_t count) {
    std::vector<DraftNode> nodes;
    for (int32_t i = 0; i < count; ++i) nodes.push_back({.token = token(), .parent = i - 1});
    return nodes;
  }

 private:
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
  TokenId token() { return static_cast<TokenId>(below(vocab_)); }

  std::mt19937 random_;
  uint32_t vocab_;
};

// Prompts; then drafts beside rows of a prompt; then what a draft proposed last, as if it had been
// accepted, with further drafts.
std::vector<std::vector<DraftedSequence>> drafted_steps(uint32_t seed, int64_t vocab) {
  DraftMaker make(seed, vocab);
  std::vector<DraftedSequence> sequences(kDraftSequences);
  make.add_tokens(29, sequences[0].known);
  make.add_tokens(1, sequences[1].known);
  make.add_tokens(14, sequences[2].known);
  std::vector<std::vector<DraftedSequence>> steps = {sequences};
  const auto go_on = [&] {
    for (DraftedSequence& sequence : sequences) {
      sequence.computed = static_cast<int32_t>(sequence.known.size());
    }
  };
  go_on();
  make.add_tokens(1, sequences[0].known);
  make.add_tokens(17, sequences[1].known);
  make.add_tokens(2, sequences[2].known);
  sequences[0].nodes = make.tree(12);
  sequences[2].nodes = make.tree(7);
  steps.push_back(sequences);
  go_on();
  sequences[0].known = sequences[0].path_to(11);
  sequences[2].known = sequences[2].path_to(6);
  sequences[0].nodes = make.tree(9);
  sequences[2].nodes = make.tree(3);
  sequences[1].nodes = make.chain(5);
  make.add_tokens(1, sequences[1].known);
  steps.push_back(sequences);
  return steps;
}

std::vector<float> logits_by_paths(DraftRun& run, const std::vector<DraftedSequence>& sequences) {
  std::vector<float> logits;
  for (const DraftedSequence& sequence : sequences) {
    for (int32_t row = 0; row < sequence.rows(); ++row) {
      const std::vector<float> last = run.logits_after(sequence.tokens_of_row(row));
      logits.insert(logits.end(), last.begin(), last.end());
    }
  }
  return logits;
}

std::vector<RandomModelShape> drafted_shapes() {
  RandomModelShape quantised;
  quantised.format = DType::kQ4_0;
  RandomModelShape window;
  window.window = 7;
  RandomModelShape experts;
  experts.architecture = "qwen3moe";
  experts.format = DType::kMXFP4;
  experts.experts = 6;
  RandomModelShape two_groups;
  two_groups.architecture = "gemma3";
  two_groups.window = 7;
  RandomModelShape latent;
  latent.architecture = "deepseek2";
  latent.format = DType::kBF16;
  return {quantised, window, experts, two_groups, latent};
}

TEST(Draft, ARowsLogitsAreThoseOfItsPathAlone) {
  for (const RandomModelShape& shape : drafted_shapes()) {
    for (const DType cache : {DType::kF16, DType::kBF16, DType::kF32}) {
      const auto steps = drafted_steps(static_cast<uint32_t>(cache), shape.vocab);
      std::vector<std::vector<float>> expected;
      DraftRun alone(shape, cache, 1, kDraftTokens);
      for (const auto& step : steps) expected.push_back(logits_by_paths(alone, step));
      for (const int threads : {1, 3}) {
        for (const int32_t block_tokens : {1, 5, 16}) {
          DraftRun run(shape, cache, threads, block_tokens);
          for (size_t i = 0; i < steps.size(); ++i) {
            EXPECT_EQ(run.logits(run.batch_of(steps[i])), expected[i])
                << shape.architecture << " " << info_of(cache).name << " step " << i << " threads "
                << threads << " blocks of " << block_tokens;
          }
        }
      }
    }
  }
}

// Drafts of models with states are chains, whose rows just go on.
TEST(Draft, AChainOfAModelWithStatesGivesTheLogitsOfItsPath) {
  for (const char* architecture : {"mamba2", "granitehybrid"}) {
    RandomModelShape shape;
    shape.architecture = architecture;
    shape.layers = 4;
    DraftMaker make(5, shape.vocab);
    std::vector<DraftedSequence> sequences(kDraftSequences);
    for (DraftedSequence& sequence : sequences) {
      make.add_tokens(20, sequence.known);
      sequence.nodes = make.chain(6);
    }
    DraftRun alone(shape, DType::kF16, 1, kDraftTokens);
    DraftRun run(shape, DType::kF16, 3, 4);
    EXPECT_EQ(run.logits(run.batch_of(sequences)), logits_by_paths(alone, sequences));
  }
}

using DraftDeathTest = testing::Test;

TEST(DraftDeathTest, RefusesRowsThatAreNoDraft) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // the lanes are threads
  DraftRun run({}, DType::kF16, 1, 16);
  DraftedSequence sequence = {.known = {1, 2, 3}, .computed = 1, .nodes = {{4}, {5, 0}, {6}}};
  const Batch good = run.batch_of({sequence});
  ASSERT_EQ(good.slots, (std::vector<int32_t>{1, 2, 3, 4, 5}));
  ASSERT_EQ(good.positions, (std::vector<int32_t>{1, 2, 3, 4, 3}));
  const auto with = [&](auto change) {
    Batch bad = good;
    change(bad);
    run.logits(bad);
  };
  EXPECT_DEATH(with([](Batch& b) { b.parents.clear(); }), "a draft without parents");
  EXPECT_DEATH(with([](Batch& b) { b.slices[0].draft_rows = 5; }), "a draft of 5 rows in a slice");
  EXPECT_DEATH(with([](Batch& b) { b.parents[3] = 3; }), "row 3 of a draft follows row 3");
  EXPECT_DEATH(with([](Batch& b) { b.parents[3] = 0; }), "row 3 of a draft follows row 0");
  EXPECT_DEATH(with([](Batch& b) { b.parents[1] = 0; }), "row 1 of a known token follows row 0");
  EXPECT_DEATH(with([](Batch& b) { b.positions[4] = 4; }), "position 4 of a row that follows 2");
  EXPECT_DEATH(with([](Batch& b) { b.positions[1] = 1; }), "position 1 of a known token in slot 2");
  EXPECT_DEATH(with([](Batch& b) { b.slots[4] = 3; }), "row 4 in slot 3 of rows from 1 on");
  EXPECT_DEATH(with([](Batch& b) { b.slices[0].write_from = 4; }), "a draft in shared blocks");
  EXPECT_DEATH(with([](Batch& b) { b.wants = {1, 0}; }), "is_sorted");
}

TEST(DraftDeathTest, RefusesTreesOfModelsWithStates) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // the lanes are threads
  RandomModelShape shape;
  shape.architecture = "mamba2";
  DraftRun run(shape, DType::kF16, 1, 16);
  const Batch tree = run.batch_of({{.known = {1, 2}, .computed = 0, .nodes = {{4}, {5}}}});
  EXPECT_DEATH(run.logits(tree), "a draft of a model with states that is no chain");
  Batch late = run.batch_of({{.known = {1, 2}, .computed = 0, .nodes = {{4}, {5, 0}}}});
  late.saves = {{.slice = 0, .rows = 3, .unit = BlockId{1}}};
  EXPECT_DEATH(run.logits(late), "a state after 3 of 2 rows");
}

}  // namespace
}  // namespace millrace
