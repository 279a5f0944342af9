#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/attention_ops.h"
#include "tests/fixtures/kernels/attention_configs.h"
#include "tests/fixtures/kernels/attention_harness.h"

namespace millrace {
namespace {

// Attention of one row by its definition, in double. absolute: the largest sum of the absolute
// terms of a score that counts, which those by e^-30 below the largest do not.
std::vector<double> reference(const Config& config, const TestSequence& sequence, int32_t row,
                              double& absolute) {
  const int32_t head_dim = config.shape.head_dim;
  const int32_t query_heads = config.shape.query_heads;
  const int32_t heads = config.shape.heads;
  const int32_t value_dim = config.shape.values();
  std::vector<double> out(static_cast<size_t>(query_heads * value_dim));
  std::vector<int32_t> keys;
  for (int32_t key = 0; key <= row; ++key) {
    if (reads(config, row, key)) keys.push_back(key);
  }
  const auto stored = [&](const std::vector<float>& values, int32_t key, int32_t head, int32_t dim,
                          int32_t d) {
    return double{
        rounded(config.dtype, values[static_cast<size_t>((key * heads + head) * dim + d)])};
  };
  const auto value_of = [&](int32_t key, int32_t head, int32_t d) {
    return config.shape.latent ? stored(sequence.keys, key, head, head_dim, d)
                               : stored(sequence.values, key, head, value_dim, d);
  };
  for (int32_t q = 0; q < query_heads; ++q) {
    const int32_t head = q / (query_heads / heads);
    std::vector<double> weights;
    std::vector<double> terms_of;
    double top = -INFINITY;
    for (const int32_t key : keys) {
      double score = 0;
      double terms = 0;
      for (int32_t d = 0; d < head_dim; ++d) {
        const float query =
            sequence.queries[static_cast<size_t>((row * query_heads + q) * head_dim + d)];
        const double term =
            double{in_pairs(config.isa, config.dtype) ? rounded(config.dtype, query) : query} *
            stored(sequence.keys, key, head, head_dim, d) * config.scale;
        score += term;
        terms += std::fabs(term);
      }
      if (config.softcap > 0) score = config.softcap * std::tanh(score / config.softcap);
      if (!config.slopes.empty()) {
        const double bias = double{config.slopes[static_cast<size_t>(q)]} * (key - row);
        score += bias;
        terms += std::fabs(bias);
      }
      terms_of.push_back(terms);
      weights.push_back(score);
      top = std::max(top, score);
    }
    for (size_t i = 0; i < keys.size(); ++i) {
      if (weights[i] > top - 30) absolute = std::max(absolute, terms_of[i]);
    }
    double sum = 0;
    if (!config.sinks.empty()) {
      const double sink = config.sinks[static_cast<size_t>(q)];
      sum = std::exp(sink - top);
      absolute = std::max(absolute, std::fabs(sink));
    }
    for (double& weight : weights) sum += weight = std::exp(weight - top);
    for (size_t i = 0; i < keys.size(); ++i) {
      for (int32_t d = 0; d < value_dim; ++d) {
        out[static_cast<size_t>(q * value_dim + d)] +=
            weights[i] / sum * value_of(keys[i], head, d);
      }
    }
  }
  return out;
}

// How far a result may be off where values are at most 1. With u = 2^-24: a score of n products and
// its scaling err by (n + 1) u of its absolute terms a, a soft cap by 8u and a slope by u of them,
// subtracting the maximum by 2a u more, exp by 4u of its result, so a weight, also a sink's, errs
// by (n + 12) a u + 4u of itself; that moves the mean of the values by at most twice as much. Each
// of at most 16 rescalings in a split and 3 merges errs by (2a + 6) u, and the running sums over a
// split's 512 keys, in numerator and denominator, by 512 u each. A weight rounded to bfloat16 errs
// by 2^-9 more.
double bound_of(const Config& config, double absolute) {
  const double weight = (config.shape.head_dim + 12) * absolute + 4;
  const double scaling = (16 + 3) * (2 * absolute + 6);
  const double rounding = in_pairs(config.isa, config.dtype) ? 0x1p-9 : 0;
  return (2 * weight + 2 * scaling + 2 * 512) * 0x1p-24 + 2 * rounding;
}

constexpr int32_t kLengths[] = {1, 2, 31, 32, 33, 511, 512, 513, 1100};

TEST(Attention, MatchesItsDefinition) {
  Runner runner(2);
  for (const Isa isa : isas()) {
    for (const DType dtype : kCacheTypes) {
      for (size_t i = 0; i < 32; ++i) {
        const Config config = config_of(isa, dtype, i);
        const int32_t length = kLengths[i % std::size(kLengths)];
        SCOPED_TRACE(fmt::format("{} length {}", config.name(), length));
        TestSequence sequence = make_sequence(config, length, static_cast<uint32_t>(i));
        TestCache cache(config, length / config.block_tokens + 2);
        cache.place(sequence);
        runner.store(cache, {{&sequence, 0, length}});
        const int32_t first = std::max(0, length - 2);
        const std::vector<float> out = runner.attend(cache, {{&sequence, first, length}});
        for (int32_t row = first; row < length; ++row) {
          double absolute = 0;
          const std::vector<double> expected = reference(config, sequence, row, absolute);
          const double bound = bound_of(config, absolute);
          for (size_t d = 0; d < expected.size(); ++d) {
            ASSERT_NEAR(out[static_cast<size_t>(row - first) * expected.size() + d], expected[d],
                        bound)
                << "row " << row << " element " << d;
          }
        }
      }
    }
  }
}

// Rows [first, length) one chunk after another, each stored just before it is attended: what lies
// behind is still NaN.
std::vector<float> by_chunks(Runner& runner, const Config& config, int32_t length, int32_t first,
                             int32_t chunk) {
  TestSequence sequence = make_sequence(config, length, 3);
  TestCache cache(config, length / config.block_tokens + 2);
  cache.place(sequence);
  if (first > 0) runner.store(cache, {{&sequence, 0, first}});
  std::vector<float> out;
  for (int32_t begin = first; begin < length; begin += chunk) {
    const std::vector<Part> parts = {{&sequence, begin, std::min(length, begin + chunk)}};
    runner.store(cache, parts);
    const std::vector<float> rows = runner.attend(cache, parts);
    out.insert(out.end(), rows.begin(), rows.end());
  }
  return out;
}

TEST(Attention, BitsDoNotDependOnChunksBlocksOrLanes) {
  Runner runners[] = {Runner(1), Runner(2), Runner(3), Runner(4)};
  for (const Isa isa : isas()) {
    for (const size_t i : {0U, 1U, 2U, 3U, 4U, 5U, 9U, 10U, 14U, 25U, 41U}) {
      Config config = config_of(isa, kCacheTypes[i % 3], i);
      config.window = kWindows[i % std::size(kWindows)];
      config.scattered = i == 4;
      const int32_t length = i % 2 == 0 ? 70 : 530;
      const int32_t first = i % 2 == 0 ? 0 : 500;
      config.block_tokens = 16;
      const std::vector<float> whole = by_chunks(runners[0], config, length, first, length);
      for (const int32_t block_tokens : kBlocks) {
        config.block_tokens = block_tokens;
        for (const int32_t chunk : {1, 7, length}) {
          SCOPED_TRACE(fmt::format("{} chunks of {}", config.name(), chunk));
          Runner& runner = runners[(static_cast<size_t>(chunk + block_tokens) + i) % 4];
          ASSERT_TRUE(same_bits(by_chunks(runner, config, length, first, chunk), whole));
        }
      }
    }
  }
}

TEST(Attention, BitsDoNotDependOnTheOtherSlices) {
  Runner alone(1);
  for (const Isa isa : isas()) {
    const Config config = {.isa = isa,
                           .dtype = DType::kF16,
                           .shape = {64, 9, 3},
                           .block_tokens = 16,
                           .window = 0,
                           .scale = 0.125F};
    std::vector<TestSequence> sequences;
    for (const int32_t length : {40, 1, 1100, 33, 600}) {
      sequences.push_back(make_sequence(config, length, static_cast<uint32_t>(length)));
    }
    TestCache cache(config, 200);
    std::vector<Part> parts;
    for (TestSequence& sequence : sequences) {
      cache.place(sequence);
      alone.store(cache, {{&sequence, 0, sequence.length}});
      const int32_t rows = std::min(sequence.length, sequence.length == 40 ? 40 : 3);
      parts.push_back({&sequence, sequence.length - rows, sequence.length});
    }
    std::vector<float> expected;
    for (const Part& part : parts) {
      const std::vector<float> rows = alone.attend(cache, {part});
      expected.insert(expected.end(), rows.begin(), rows.end());
    }
    for (int lanes = 1; lanes <= 4; ++lanes) {
      Runner runner(lanes);
      for (int repeat = 0; repeat < 2; ++repeat) {
        ASSERT_TRUE(same_bits(runner.attend(cache, parts), expected)) << name_of(isa) << lanes;
      }
    }
  }
}

// One token at a time over a long context: few pieces of work and many splits.
TEST(Attention, BitsDoNotDependOnHowLanesShareALongContext) {
  for (const Isa isa : isas()) {
    for (const size_t extras : {0U, 1U, 2U, 3U, 5U}) {
      const int32_t window = extras % 2 == 0 ? 0 : 1500;
      Config config = {.isa = isa,
                       .dtype = DType::kF16,
                       .shape = {16, 2, 1},
                       .block_tokens = 16,
                       .window = window,
                       .scale = 0.25F,
                       .scattered = window == 1500};
      add_extras(config, extras);
      TestSequence sequence = make_sequence(config, 5000, 5);
      TestSequence other = make_sequence(config, 1700, 6);
      TestCache cache(config, 500);
      cache.place(sequence);
      cache.place(other);
      Runner alone(1);
      alone.store(cache, {{&sequence, 0, 5000}, {&other, 0, 1700}});
      for (const int32_t position : {4999, 4095, 4096, 600}) {
        const std::vector<Part> parts = {{&other, 1699, 1700}, {&sequence, position, position + 1}};
        const std::vector<float> expected = alone.attend(cache, parts);
        for (int lanes = 2; lanes <= 4; ++lanes) {
          Runner runner(lanes);
          for (int repeat = 0; repeat < 2; ++repeat) {
            ASSERT_TRUE(same_bits(runner.attend(cache, parts), expected))
                << name_of(isa) << " position " << position << " lanes " << lanes;
          }
        }
      }
    }
  }
}

// However long the context, its splits are shared: also where a row, or a window, has many.
TEST(Attention, LanesShareContextsOfAnyLength) {
  constexpr int32_t kLength = 70'001;
  constexpr int kLanes = 3;
  Runner alone(1);
  for (const Isa isa : isas()) {
    Config config = {.isa = isa,
                     .dtype = DType::kF16,
                     .shape = {16, 1, 1},
                     .block_tokens = 16,
                     .window = 0,
                     .scale = 0.25F};
    TestSequence sequence = make_sequence(config, kLength, 5);
    for (const int32_t window : {0, 68'000}) {
      config.window = window;
      TestCache cache(config, kLength / config.block_tokens + 1);
      cache.place(sequence);
      alone.store(cache, {{&sequence, 0, kLength}});
      const int32_t position = window == 0 ? 65'536 : kLength - 1;
      const std::vector<Part> row = {{&sequence, position, position + 1}};
      const std::vector<float> expected = alone.attend(cache, row);
      Runner runner(kLanes);
      EXPECT_TRUE(same_bits(runner.attend(cache, row), expected)) << config.name();
      EXPECT_TRUE(same_bits(runner.attend(cache, row), expected)) << config.name();
      EXPECT_EQ(runner.lanes_at_work(), kLanes) << config.name();
      const std::vector<float> chunk =
          alone.attend(cache, {{&sequence, position - 1, position + 1}});
      EXPECT_TRUE(same_bits({chunk.end() - config.shape.values(), chunk.end()}, expected));
    }
  }
}

TEST(Attention, PortableTwinsGiveTheBitsOfTheirInstructionSets) {
  Runner runner(1);
  const std::pair<Isa, Isa> twins[] = {{Isa::kAvx2, Isa::kPortable8},
                                       {Isa::kAvx512, Isa::kPortable16}};
  for (const auto& [tier, twin] : twins) {
    for (const size_t i : {0U, 1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U, 9U, 10U, 14U, 25U, 41U}) {
      const DType dtype = kCacheTypes[i % 3];
      const Isa isa = in_pairs(twin, dtype) ? Isa::kAvx512Bf16 : tier;
      if (!is_supported(isa)) continue;
      Config config = config_of(isa, dtype, i);
      const std::vector<float> expected = by_chunks(runner, config, 65, 20, 9);
      config.isa = twin;
      EXPECT_TRUE(same_bits(by_chunks(runner, config, 65, 20, 9), expected)) << config.name();
    }
    if (!is_supported(tier)) continue;
    Config config = config_of(tier, DType::kF16, 0);
    const std::vector<float> expected = by_chunks(runner, config, 66'000, 65'998, 1);
    config.isa = twin;
    EXPECT_TRUE(same_bits(by_chunks(runner, config, 66'000, 65'998, 1), expected));
  }
}

// Whatever lies in the others, even where neighbours in a tile are read.
TEST(Attention, KeysOutsideARowsRangesAreNotRead) {
  constexpr int32_t kLength = 1300;
  Runner runner(2);
  for (const Isa isa : isas()) {
    for (const size_t i : {0U, 1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U, 10U, 14U, 25U, 41U}) {
      Config config = config_of(isa, kCacheTypes[i % 3], i);
      config.scattered = true;
      TestSequence sequence = make_sequence(config, kLength, 5);
      const std::vector<Part> row = {{&sequence, kLength - 1, kLength}};
      TestCache all(config, kLength / config.block_tokens + 1);
      all.place(sequence);
      runner.store(all, {{&sequence, 0, kLength}});
      const std::vector<float> expected = runner.attend(all, row);
      TestCache some(config, kLength / config.block_tokens + 1);
      some.place(sequence);
      for (int32_t key = 0; key < kLength; ++key) {
        if (reads(config, kLength - 1, key)) runner.store(some, {{&sequence, key, key + 1}});
      }
      EXPECT_TRUE(same_bits(runner.attend(some, row), expected)) << config.name();
    }
  }
}

// What is not a number in one row's query or in one sequence's values stays there.
TEST(Attention, ARowThatIsNotANumberSpoilsNoOther) {
  Runner runner(2);
  for (const Isa isa : isas()) {
    for (const DType dtype : kCacheTypes) {
      Config config = config_of(isa, dtype, 3);
      config.window = 0;
      config.scattered = false;
      config.slopes.clear();
      add_extras(config, dtype == DType::kF32 ? 0 : 5);
      TestSequence sequence = make_sequence(config, 40, 9);
      TestCache cache(config, 60);
      cache.place(sequence);
      runner.store(cache, {{&sequence, 0, 40}});
      const std::vector<float> clean = runner.attend(cache, {{&sequence, 0, 40}});
      const auto width = clean.size() / 40;
      sequence.queries[20 * width] = NAN;
      sequence.values[35 * width / 3] = INFINITY;
      runner.store(cache, {{&sequence, 0, 40}});
      const std::vector<float> spoilt = runner.attend(cache, {{&sequence, 0, 40}});
      for (size_t row = 0; row < 35; ++row) {
        const bool same = std::equal(clean.begin() + static_cast<int64_t>(row * width),
                                     clean.begin() + static_cast<int64_t>((row + 1) * width),
                                     spoilt.begin() + static_cast<int64_t>(row * width));
        EXPECT_EQ(same, row != 20) << name_of(isa) << " row " << row;
      }
      EXPECT_TRUE(std::isnan(spoilt[20 * width]));
      EXPECT_FALSE(std::isfinite(spoilt[36 * width]));
    }
  }
}

}  // namespace
}  // namespace millrace
