#include "exec/local.h"

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "exec/cache_plan.h"
#include "exec/fixed_sequences.h"
#include "models/random.h"
#include "tests/fixtures/exec/logits_of.h"

namespace millrace {
namespace {

constexpr int32_t kTokensMax = 48;
constexpr int32_t kSequences = 3;

std::unique_ptr<Model> make_model(const RandomModelShape& shape, LanePool& lanes) {
  auto model = load_random_model(shape, {}, lanes);
  EXPECT_TRUE(model.ok()) << model.status();
  return std::move(*model);
}

std::unique_ptr<LocalExecutor> make_executor(const Model& model, LanePool& lanes,
                                             int32_t block_tokens) {
  LocalOptions options;
  options.block_tokens = block_tokens;
  options.units = FixedSequences::units(
      plan_cache(model.spec(), options.kv_dtype, block_tokens).groups, kSequences, kTokensMax);
  options.rows_max = kSequences * kTokensMax;
  options.sequences_max = kSequences;
  auto executor = LocalExecutor::create(model, lanes, options);
  EXPECT_TRUE(executor.ok()) << executor.status();
  return std::move(*executor);
}

std::vector<TokenId> random_tokens(int32_t count, int64_t vocab, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<TokenId> draw(0, static_cast<TokenId>(vocab) - 1);
  std::vector<TokenId> tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back(draw(random));
  return tokens;
}

// Computes the sequences side by side, each in slices of random lengths; their logits, sequence by
// sequence. [sequences, tokens * vocab]
std::vector<std::vector<float>> interleaved_logits(
    LocalExecutor& executor, const std::vector<std::vector<TokenId>>& sequences, uint32_t seed,
    int32_t rows_most) {
  std::mt19937 random(seed);
  FixedSequences batches(executor.capacity(), kTokensMax);
  std::vector<size_t> done(sequences.size());
  std::vector<std::vector<float>> logits(sequences.size());
  while (true) {
    batches.clear();
    std::vector<std::pair<size_t, size_t>> parts;  // sequence, rows
    for (size_t s = 0; s < sequences.size(); ++s) {
      const size_t left = sequences[s].size() - done[s];
      const auto wish = std::uniform_int_distribution<int32_t>(0, rows_most)(random);
      const size_t rows = std::min(left, static_cast<size_t>(wish));
      if (rows == 0) continue;
      batches.add(static_cast<int32_t>(s), static_cast<int32_t>(done[s]),
                  std::span(sequences[s]).subspan(done[s], rows), SliceWants::kAll);
      parts.emplace_back(s, rows);
      done[s] += rows;
    }
    if (parts.empty()) {
      if (std::ranges::equal(done, sequences, {}, {}, &std::vector<TokenId>::size)) return logits;
      continue;
    }
    const std::vector<float> out = logits_of(executor, batches.batch());
    const size_t vocab = out.size() / batches.batch().wants.size();
    auto row = out.begin();
    for (const auto& [s, rows] : parts) {
      const auto end = row + static_cast<int64_t>(rows * vocab);
      logits[s].insert(logits[s].end(), row, end);
      row = end;
    }
  }
}

std::vector<RandomModelShape> shapes() {
  RandomModelShape quantised;
  quantised.format = DType::kQ4_0;
  RandomModelShape window;
  window.window = 7;
  RandomModelShape qwen2;
  qwen2.architecture = "qwen2";
  qwen2.tied_embeddings = true;
  qwen2.format = DType::kBF16;
  RandomModelShape qwen3;
  qwen3.architecture = "qwen3";
  qwen3.format = DType::kQ8_0;
  qwen3.head_dim = 32;
  qwen3.kv_heads = 1;
  qwen3.vocab = 50;
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
  RandomModelShape recurrent;
  recurrent.architecture = "mamba2";
  recurrent.format = DType::kQ8_0;
  RandomModelShape hybrid;
  hybrid.architecture = "granitehybrid";
  hybrid.layers = 3;
  RandomModelShape streams;
  streams.architecture = "gemma3n";
  streams.layers = 4;
  streams.window = 7;
  streams.format = DType::kQ8_0;
  return {quantised, window, qwen2, qwen3, experts, two_groups, latent, recurrent, hybrid, streams};
}

TEST(LocalExecutor, ALogitDependsOnItsOwnSequenceAlone) {
  for (const RandomModelShape& shape : shapes()) {
    SCOPED_TRACE(shape.architecture + " " + std::string(info_of(shape.format).name));
    std::vector<std::vector<TokenId>> sequences;
    for (uint32_t s = 0; s < kSequences; ++s) {
      sequences.push_back(random_tokens(kTokensMax - 5 * static_cast<int32_t>(s), shape.vocab, s));
    }
    std::vector<std::vector<float>> expected;
    {
      LanePool lanes(1);
      const auto model = make_model(shape, lanes);
      for (const auto& sequence : sequences) {
        const auto executor = make_executor(*model, lanes, kTokensMax);
        expected.push_back(interleaved_logits(*executor, {sequence}, 0, kTokensMax)[0]);
      }
    }
    for (const int threads : {1, 3}) {
      LanePool lanes(threads);
      const auto model = make_model(shape, lanes);
      for (const int32_t block_tokens : {1, 4, 16}) {
        const auto executor = make_executor(*model, lanes, block_tokens);
        EXPECT_EQ(interleaved_logits(*executor, sequences, 7, block_tokens + 1), expected)
            << threads << " threads, blocks of " << block_tokens;
      }
    }
  }
}

TEST(LocalExecutor, RowsBelowWriteFromLeaveTheirBlocksAlone) {
  const RandomModelShape shape;
  LanePool lanes(2);
  const auto model = make_model(shape, lanes);
  const auto executor = make_executor(*model, lanes, 4);
  const std::vector<TokenId> tokens = random_tokens(kTokensMax, shape.vocab, 1);
  const std::vector<TokenId> others = random_tokens(8, shape.vocab, 2);
  FixedSequences batches(executor->capacity(), kTokensMax);
  const auto last_logits = [&] {
    batches.clear();
    batches.add(0, 8, {&tokens[8], 1}, SliceWants::kLast);
    return logits_of(*executor, batches.batch());
  };
  batches.add(0, 0, std::span(tokens).first(8), SliceWants::kNone);
  logits_of(*executor, batches.batch());
  const std::vector<float> before = last_logits();

  batches.clear();
  batches.add(0, 0, others, SliceWants::kNone);
  const Batch overwriting = batches.batch();
  Batch computed_only = overwriting;
  computed_only.slices[0].write_from = 8;
  logits_of(*executor, computed_only);
  EXPECT_EQ(last_logits(), before);
  logits_of(*executor, overwriting);
  EXPECT_NE(last_logits(), before);
}

TEST(LocalExecutor, CopiedBlocksAnswerLikeTheirOriginals) {
  const RandomModelShape shape;
  LanePool lanes(2);
  const auto model = make_model(shape, lanes);
  const auto executor = make_executor(*model, lanes, 4);
  const std::vector<TokenId> tokens = random_tokens(6, shape.vocab, 1);
  FixedSequences batches(executor->capacity(), kTokensMax);
  const auto next_logits = [&](int32_t sequence, std::vector<BlockCopy> copies) {
    batches.clear();
    batches.add(sequence, 5, {&tokens[5], 1}, SliceWants::kLast);
    Batch batch = batches.batch();
    batch.copies = std::move(copies);
    return logits_of(*executor, batch);
  };
  batches.add(0, 0, std::span(tokens).first(5), SliceWants::kNone);
  logits_of(*executor, batches.batch());
  const std::vector<float> original = next_logits(0, {});
  // Sequence s has blocks s, s + 3, ...: five tokens lie in two of them.
  const std::vector<BlockCopy> copies = {{0, BlockId{0}, BlockId{2}, 4},
                                         {0, BlockId{3}, BlockId{5}, 1}};
  EXPECT_EQ(next_logits(2, copies), original);
}

// More wanted rows than the head takes at once.
TEST(LocalExecutor, DrawsFromTheLogitsOfEveryWantedRow) {
  const RandomModelShape shape;
  LanePool lanes(2);
  const auto model = make_model(shape, lanes);
  const auto executor = make_executor(*model, lanes, 16);
  FixedSequences batches(executor->capacity(), kTokensMax);
  for (int32_t s = 0; s < kSequences; ++s) {
    batches.add(s, 0, random_tokens(kTokensMax, shape.vocab, static_cast<uint32_t>(s)),
                s == 1 ? SliceWants::kLast : SliceWants::kAll);
  }
  const auto wants = static_cast<int32_t>(batches.batch().wants.size());
  ASSERT_EQ(wants, 2 * kTokensMax + 1);
  ASSERT_GT(wants, kHeadRowsMax);
  const std::vector<float> logits = logits_of(*executor, batches.batch());
  DrawOrders orders;
  std::vector<TokenId> likeliest;
  for (int32_t want = 0; want < wants; ++want) {
    if (want % 7 == 3) continue;
    const float* row = logits.data() + want * shape.vocab;
    const auto best = static_cast<TokenId>(std::max_element(row, row + shape.vocab) - row);
    for (int32_t twice = 0; twice < 2; ++twice) {
      likeliest.push_back(best);
      orders.draws.push_back({.want = want, .temperature = 0});
    }
  }
  StepOutput output;
  ASSERT_TRUE(executor->start(batches.batch()).ok());
  ASSERT_TRUE(executor->finish(orders, output).ok());
  std::vector<TokenId> drawn;
  for (const Drawn& chosen : output.drawn) drawn.push_back(chosen.token);
  EXPECT_EQ(drawn, likeliest);
}

// A wanted row's logits are the same bits whichever others are wanted.
TEST(LocalExecutor, ALogitDoesNotDependOnTheOtherWants) {
  RandomModelShape shape;
  shape.format = DType::kQ4_0;
  LanePool lanes(2);
  const auto model = make_model(shape, lanes);
  const auto executor = make_executor(*model, lanes, 16);
  FixedSequences batches(executor->capacity(), kTokensMax);
  for (int32_t s = 0; s < kSequences; ++s) {
    batches.add(s, 0, random_tokens(kTokensMax, shape.vocab, static_cast<uint32_t>(s)),
                SliceWants::kAll);
  }
  const std::vector<float> all = logits_of(*executor, batches.batch());
  for (const int32_t step : {2, 5, 143}) {
    Batch some = batches.batch();
    std::vector<float> expected;
    some.wants.clear();
    for (int32_t row = step / 2; row < some.rows(); row += step) {
      some.wants.push_back(row);
      expected.insert(expected.end(), all.begin() + row * shape.vocab,
                      all.begin() + (row + 1) * shape.vocab);
    }
    EXPECT_EQ(logits_of(*executor, some), expected) << step;
  }
}

// The first tokens' logits are the same bits when they alone are computed.
TEST(LocalExecutor, AHeadOfFewerRowsGivesTheFirstLogits) {
  for (const bool tied : {false, true}) {
    for (const int32_t head_rows : {1, 16, 21, 64, 1000}) {
      RandomModelShape shape;
      shape.format = DType::kQ8_0;
      shape.tied_embeddings = tied;
      LanePool lanes(2);
      const auto whole = make_model(shape, lanes);
      LoadOptions options;
      options.head_rows = head_rows;
      const auto cut = load_random_model(shape, options, lanes).value();
      const auto kept = static_cast<size_t>(std::min<int64_t>(head_rows, shape.vocab));
      const auto executor = make_executor(*whole, lanes, 16);
      const auto short_executor = make_executor(*cut, lanes, 16);
      FixedSequences batches(executor->capacity(), kTokensMax);
      batches.add(0, 0, random_tokens(kTokensMax, shape.vocab, 3), SliceWants::kAll);
      const std::vector<float> all = logits_of(*executor, batches.batch());
      const std::vector<float> first = logits_of(*short_executor, batches.batch());
      ASSERT_EQ(first.size(), kTokensMax * kept);
      for (size_t row = 0; row < kTokensMax; ++row) {
        const auto from = all.begin() + static_cast<int64_t>(row) * shape.vocab;
        EXPECT_TRUE(std::equal(from, from + static_cast<int64_t>(kept),
                               first.begin() + static_cast<int64_t>(row * kept)));
      }
    }
  }
}

// A step of many wanted rows keeps the logits of few.
TEST(LocalExecutor, WorkingMemoryDoesNotGrowWithTheWants) {
  RandomModelShape shape;
  shape.vocab = 20'000;
  LanePool lanes(1);
  const auto model = make_model(shape, lanes);
  LocalOptions options;
  options.units = {1};
  options.rows_max = kHeadRowsMax;
  const int64_t few = LocalExecutor::create(*model, lanes, options).value()->working_bytes();
  options.rows_max = 1000;
  const int64_t many = LocalExecutor::create(*model, lanes, options).value()->working_bytes();
  EXPECT_GE(few, kHeadRowsMax * shape.vocab * 4);
  EXPECT_LT(many, 2 * few);
}

TEST(CachePlan, SaysWhatABlockTakes) {
  RandomModelShape shape;
  shape.layers = 3;
  LanePool lanes(1);
  const auto model = make_model(shape, lanes);
  // 3 layers x 16 tokens x a key and a value of 2 heads of 16 in two bytes.
  const CachePlan plan = plan_cache(model->spec(), DType::kF16, 16);
  ASSERT_EQ(plan.groups.size(), 1U);
  EXPECT_EQ(plan.groups[0].unit_bytes, 3 * 16 * 2 * 2 * 16 * 2);
  const auto executor = make_executor(*model, lanes, 16);
  ASSERT_EQ(executor->capacity().groups.size(), 1U);
  EXPECT_EQ(executor->capacity().groups[0].units, kSequences * kTokensMax / 16);
}

// A sequence in as few blocks as its window needs: those behind it go to the tokens ahead.
TEST(LocalExecutor, BlocksBehindAWindowAreUsedAgain) {
  constexpr int32_t kBlockTokens = 4;
  constexpr int32_t kRowsMost = 5;
  RandomModelShape shape;
  shape.window = 9;
  for (int threads = 1; threads <= 2; ++threads) {
    LanePool lanes(threads);
    const auto model = make_model(shape, lanes);
    const std::vector<TokenId> tokens = random_tokens(kTokensMax, shape.vocab, 3);
    const auto roomy = make_executor(*model, lanes, kBlockTokens);
    const std::vector<float> expected = interleaved_logits(*roomy, {tokens}, 5, kRowsMost)[0];
    KvGroup group = plan_cache(model->spec(), DType::kF16, kBlockTokens).groups[0];
    EXPECT_EQ(group.window, shape.window);
    LocalOptions options;
    options.block_tokens = kBlockTokens;
    options.units = {blocks_per_sequence(group, kRowsMost, kTokensMax)};
    options.rows_max = kRowsMost;
    options.sequences_max = 1;
    ASSERT_LT(options.units[0], kTokensMax / kBlockTokens / 2 + 1);
    const auto executor = LocalExecutor::create(*model, lanes, options).value();
    std::mt19937 random(9);
    std::vector<float> logits;
    for (int32_t at = 0; at < kTokensMax;) {
      const int32_t rows =
          std::min(1 + static_cast<int32_t>(random() % kRowsMost), kTokensMax - at);
      Batch batch;
      batch.slices.push_back({.sequence = SeqId{0}, .row = 0, .rows = rows});
      for (int32_t i = 0; i < rows; ++i) {
        batch.tokens.push_back(tokens[static_cast<size_t>(at + i)]);
        batch.positions.push_back(at + i);
        batch.slots.push_back(at + i);
        batch.wants.push_back(i);
      }
      Csr<BlockId>& table = batch.tables.emplace_back();
      for (int32_t i = 0; i * kBlockTokens < at + rows; ++i) {
        const bool gone = (i + 1) * kBlockTokens <= at + 1 - shape.window;
        table.values.push_back(gone ? BlockId{}
                                    : BlockId{i % static_cast<int32_t>(options.units[0])});
      }
      table.close_row();
      const std::vector<float> rows_of = logits_of(*executor, batch);
      logits.insert(logits.end(), rows_of.begin(), rows_of.end());
      at += rows;
    }
    EXPECT_EQ(logits, expected);
  }
}

using LocalExecutorDeathTest = testing::Test;

TEST(LocalExecutorDeathTest, RefusesBatchesThatDoNotFit) {
  const RandomModelShape shape;
  LanePool lanes(1);
  const auto model = make_model(shape, lanes);
  const auto executor = make_executor(*model, lanes, 16);
  FixedSequences batches(executor->capacity(), kTokensMax);
  const std::vector<TokenId> tokens = random_tokens(4, shape.vocab, 1);
  batches.add(0, 0, tokens, SliceWants::kLast);
  Batch unknown_token = batches.batch();
  unknown_token.tokens[2] = static_cast<TokenId>(shape.vocab);
  EXPECT_DEATH(logits_of(*executor, unknown_token), "token 64 of 64");
  Batch beyond_table = batches.batch();
  for (int32_t i = 0; i < 4; ++i) {
    beyond_table.positions[static_cast<size_t>(i)] = 13 + i;
    beyond_table.slots[static_cast<size_t>(i)] = 13 + i;
  }
  EXPECT_DEATH(logits_of(*executor, beyond_table), "1 blocks of 16 for slot 16");
  Batch unknown_block = batches.batch();
  unknown_block.tables[0].values[0] = BlockId{1000};
  EXPECT_DEATH(logits_of(*executor, unknown_block), "block 1000 of 9");
  Batch gone_block = batches.batch();
  gone_block.tables[0].values[0] = BlockId{};
  EXPECT_DEATH(logits_of(*executor, gone_block), "block -1 of 9");
  Batch saves = batches.batch();
  saves.saves.push_back({.slice = 0, .rows = 1, .unit = BlockId{0}});
  EXPECT_DEATH(logits_of(*executor, saves), "states of a model that has none");
}

}  // namespace
}  // namespace millrace
