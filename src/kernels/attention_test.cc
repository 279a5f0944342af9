#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/attention_ops.h"
#include "tensor/float_bits.h"

namespace millrace {
namespace {

struct Shape {
  int32_t head_dim, query_heads, heads;
};

struct Config {
  Isa isa;
  DType dtype;
  Shape shape;
  int32_t block_tokens;
  int32_t window;
  float scale;

  std::string name() const {
    return fmt::format("{} {} head_dim {} heads {}/{} blocks of {} window {}", name_of(isa),
                       info_of(dtype).name, shape.head_dim, shape.query_heads, shape.heads,
                       block_tokens, window);
  }
};

std::vector<Isa> isas() {
  std::vector<Isa> isas;
  for (const Isa isa : all_isas()) {
    if (is_supported(isa)) isas.push_back(isa);
  }
  return isas;
}

// Queries, keys and values of a sequence, and where its blocks lie.
struct TestSequence {
  int32_t length;
  std::vector<float> queries, keys, values;
  std::vector<BlockId> table;
};

// Rows [begin, end) of a sequence.
struct Part {
  const TestSequence* sequence;
  int32_t begin, end;
};

int64_t bytes_of_block(const Config& config) {
  return 2 * row_bytes(config.dtype, int64_t{config.shape.head_dim} * config.shape.heads) *
         config.block_tokens;
}

// One layer's cache, every bit of it set at first: all numbers in it are NaN until stored.
class TestCache {
 public:
  TestCache(const Config& config, int32_t blocks) : config_(config) {
    const int64_t block_bytes = bytes_of_block(config);
    bytes_.assign(static_cast<size_t>(blocks * block_bytes), std::byte{0xff});
    const int64_t head_bytes = block_bytes / config.shape.heads;
    layer_ = {.dtype = config.dtype,
              .keys = bytes_.data(),
              .values = bytes_.data() + head_bytes / 2,
              .block_stride = block_bytes,
              .head_stride = head_bytes,
              .block_tokens = config.block_tokens,
              .heads = config.shape.heads,
              .head_dim = config.shape.head_dim};
    for (int32_t i = 0; i < blocks; ++i) free_.push_back(BlockId{i});
    std::shuffle(free_.begin(), free_.end(), std::mt19937(7));
  }

  const KvLayer& layer() const { return layer_; }
  const Config& config() const { return config_; }

  void place(TestSequence& sequence) {
    const int32_t blocks = (sequence.length + config_.block_tokens - 1) / config_.block_tokens;
    sequence.table.assign(free_.end() - blocks, free_.end());
    free_.resize(free_.size() - static_cast<size_t>(blocks));
  }

 private:
  Config config_;
  std::vector<std::byte> bytes_;
  std::vector<BlockId> free_;
  KvLayer layer_;
};

std::vector<float> random_floats(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = uniform(random);
  return values;
}

TestSequence make_sequence(const Config& config, int32_t length, uint32_t seed) {
  const Shape& shape = config.shape;
  return {.length = length,
          .queries = random_floats(int64_t{length} * shape.query_heads * shape.head_dim, seed),
          .keys = random_floats(int64_t{length} * shape.heads * shape.head_dim, seed + 1000),
          .values = random_floats(int64_t{length} * shape.heads * shape.head_dim, seed + 2000),
          .table = {}};
}

// The parts as one batch. Owns what AttentionRows points to.
struct TestBatch {
  std::vector<ops::AttentionSlice> slices;
  std::vector<int32_t> positions;
  std::vector<float> queries, keys, values, out;
  int64_t query_width, width;

  TestBatch(const Config& config, const std::vector<Part>& parts)
      : query_width(config.shape.query_heads * config.shape.head_dim),
        width(config.shape.heads * config.shape.head_dim) {
    for (const Part& part : parts) {
      slices.push_back({.row = static_cast<int32_t>(positions.size()),
                        .rows = part.end - part.begin,
                        .write_from = 0,
                        .table = part.sequence->table});
      for (int32_t i = part.begin; i < part.end; ++i) positions.push_back(i);
      append(part.sequence->queries, part, query_width, queries);
      append(part.sequence->keys, part, width, keys);
      append(part.sequence->values, part, width, values);
    }
    out.assign(queries.size(), NAN);
  }

  static void append(const std::vector<float>& from, const Part& part, int64_t width,
                     std::vector<float>& to) {
    to.insert(to.end(), from.begin() + part.begin * width, from.begin() + part.end * width);
  }
  int64_t rows() const { return static_cast<int64_t>(positions.size()); }
  ops::AttentionRows places() const { return {slices, positions, positions}; }
  Rows<float> view(std::vector<float>& values_of, int64_t columns) const {
    return {values_of.data(), rows(), columns, columns};
  }
};

// Stores the parts' keys and values unrotated, then attends.
class Runner {
 public:
  explicit Runner(int lanes) : pool_(lanes) {}

  void store(const TestCache& cache, const std::vector<Part>& parts) {
    TestBatch batch(cache.config(), parts);
    const Rows<float> angles = {nullptr, batch.rows(), 0, 0};
    pool_.run([&](Lane& lane) {
      ops::rope_and_store(
          lane, kernels_for(cache.config().isa), batch.places(), ops::Rope::Pairs::kHalves, angles,
          {}, batch.view(batch.queries, batch.query_width), batch.view(batch.keys, batch.width),
          batch.view(batch.values, batch.width), cache.layer());
    });
  }

  // out: [rows, query_heads * head_dim]
  std::vector<float> attend(const TestCache& cache, const std::vector<Part>& parts) {
    const Config& config = cache.config();
    TestBatch batch(config, parts);
    const ops::AttentionShape shape = {
        .query_heads = config.shape.query_heads, .window = config.window, .scale = config.scale};
    scratch_.resize(std::max(scratch_.size(), static_cast<size_t>(ops::attention_scratch_bytes(
                                                  shape, cache.layer(), pool_.lanes()))));
    pool_.run([&](Lane& lane) {
      ops::attention(lane, kernels_for(config.isa), batch.places(), shape,
                     batch.view(batch.queries, batch.query_width), cache.layer(), scratch_,
                     batch.view(batch.out, batch.query_width));
    });
    return batch.out;
  }

 private:
  LanePool pool_;
  std::vector<std::byte> scratch_;
};

float rounded(DType dtype, float value) {
  if (dtype == DType::kF16) return f32_of_f16(f16_of_f32(value));
  if (dtype == DType::kBF16) return f32_of_bf16(bf16_of_f32(value));
  return value;
}

// Attention of one row by its definition, in double. absolute: the largest sum of the absolute
// terms of a score.
std::vector<double> reference(const Config& config, const TestSequence& sequence, int32_t row,
                              double& absolute) {
  const auto& [head_dim, query_heads, heads] = config.shape;
  std::vector<double> out(static_cast<size_t>(query_heads * head_dim));
  const int32_t first = config.window > 0 ? std::max(0, row + 1 - config.window) : 0;
  const auto stored = [&](const std::vector<float>& values, int32_t key, int32_t head, int32_t d) {
    return double{
        rounded(config.dtype, values[static_cast<size_t>((key * heads + head) * head_dim + d)])};
  };
  for (int32_t q = 0; q < query_heads; ++q) {
    const int32_t head = q / (query_heads / heads);
    std::vector<double> weights;
    double top = -INFINITY;
    for (int32_t key = first; key <= row; ++key) {
      double score = 0;
      double terms = 0;
      for (int32_t d = 0; d < head_dim; ++d) {
        const double term =
            sequence.queries[static_cast<size_t>((row * query_heads + q) * head_dim + d)] *
            stored(sequence.keys, key, head, d) * config.scale;
        score += term;
        terms += std::fabs(term);
      }
      absolute = std::max(absolute, terms);
      weights.push_back(score);
      top = std::max(top, score);
    }
    double sum = 0;
    for (double& weight : weights) sum += weight = std::exp(weight - top);
    for (int32_t key = first; key <= row; ++key) {
      for (int32_t d = 0; d < head_dim; ++d) {
        out[static_cast<size_t>(q * head_dim + d)] +=
            weights[static_cast<size_t>(key - first)] / sum * stored(sequence.values, key, head, d);
      }
    }
  }
  return out;
}

// How far a result may be off where values are at most 1. With u = 2^-24: a score of n products and
// its scaling err by (n + 1) u of its absolute terms a, subtracting the maximum by 2a u more, exp
// by 4u of its result, so a weight errs by (n + 3) a u + 4u of itself; that moves the mean of the
// values by at most twice as much. Each of at most 16 rescalings in a split and 3 merges errs by
// (2a + 6) u, and the running sums over a split's 512 keys, in numerator and denominator, by 512 u
// each.
double bound_of(const Config& config, double absolute) {
  const double weight = (config.shape.head_dim + 3) * absolute + 4;
  const double scaling = (16 + 3) * (2 * absolute + 6);
  return (2 * weight + 2 * scaling + 2 * 512) * 0x1p-24;
}

constexpr Shape kShapes[] = {{8, 1, 1},  {16, 4, 1}, {48, 6, 6},  {64, 9, 3},
                             {80, 8, 4}, {96, 4, 1}, {128, 8, 4}, {20, 14, 2}};
constexpr int32_t kLengths[] = {1, 2, 31, 32, 33, 511, 512, 513, 1100};
constexpr int32_t kBlocks[] = {1, 4, 16, 32, 5};
constexpr int32_t kWindows[] = {0, 16, 0, 100};
constexpr DType kCacheTypes[] = {DType::kF16, DType::kBF16, DType::kF32};

// One of many settings, so that every shape, length, block size and window comes with many others.
Config config_of(Isa isa, DType dtype, size_t i) {
  const Shape shape = kShapes[i % std::size(kShapes)];
  return {.isa = isa,
          .dtype = dtype,
          .shape = shape,
          .block_tokens = kBlocks[(i / 2) % std::size(kBlocks)],
          .window = kWindows[(i / 3) % std::size(kWindows)],
          .scale = 2 / std::sqrt(static_cast<float>(shape.head_dim))};
}

TEST(Attention, MatchesItsDefinition) {
  Runner runner(2);
  for (const Isa isa : isas()) {
    for (const DType dtype : kCacheTypes) {
      for (size_t i = 0; i < 27; ++i) {
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

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
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
    for (size_t i = 0; i < 6; ++i) {
      Config config = config_of(isa, kCacheTypes[i % 3], i);
      config.window = kWindows[i % std::size(kWindows)];
      const int32_t length = i % 2 == 0 ? 70 : 530;
      const int32_t first = i % 2 == 0 ? 0 : 490;
      config.block_tokens = 16;
      const std::vector<float> whole = by_chunks(runners[0], config, length, first, length);
      for (const int32_t block_tokens : kBlocks) {
        config.block_tokens = block_tokens;
        for (const int32_t chunk : {1, 7, 32, length}) {
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
      for (int repeat = 0; repeat < 3; ++repeat) {
        ASSERT_TRUE(same_bits(runner.attend(cache, parts), expected)) << name_of(isa) << lanes;
      }
    }
  }
}

// One token at a time over a long context: few pieces of work and many splits.
TEST(Attention, BitsDoNotDependOnHowLanesShareALongContext) {
  for (const Isa isa : isas()) {
    for (const int32_t window : {0, 1500}) {
      const Config config = {.isa = isa,
                             .dtype = DType::kF16,
                             .shape = {16, 2, 1},
                             .block_tokens = 16,
                             .window = window,
                             .scale = 0.25F};
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
          for (int repeat = 0; repeat < 3; ++repeat) {
            ASSERT_TRUE(same_bits(runner.attend(cache, parts), expected))
                << name_of(isa) << " position " << position << " lanes " << lanes;
          }
        }
      }
    }
  }
}

TEST(Attention, PortableTwinsGiveTheBitsOfTheirInstructionSets) {
  Runner runner(1);
  const std::pair<Isa, Isa> twins[] = {{Isa::kAvx2, Isa::kPortable8},
                                       {Isa::kAvx512, Isa::kPortable16}};
  for (const auto& [isa, twin] : twins) {
    if (!is_supported(isa)) continue;
    for (size_t i = 0; i < 9; ++i) {
      Config config = config_of(isa, kCacheTypes[i % 3], i);
      const std::vector<float> expected = by_chunks(runner, config, 65, 20, 9);
      config.isa = twin;
      EXPECT_TRUE(same_bits(by_chunks(runner, config, 65, 20, 9), expected)) << config.name();
    }
  }
}

// What is not a number in one row's query or in one sequence's values stays there.
TEST(Attention, ARowThatIsNotANumberSpoilsNoOther) {
  Runner runner(2);
  for (const Isa isa : isas()) {
    Config config = config_of(isa, DType::kF32, 3);
    config.window = 0;
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

// The rotation and norm by their definitions, in double. angle(i): of pair i.
template <typename Angle>
std::vector<double> turned(std::vector<double> head, const ops::Rope& rope,
                           std::span<const float> weight, float epsilon, Angle angle) {
  double squares = 0;
  for (const double x : head) squares += x * x;
  const double scale = 1 / std::sqrt(squares / static_cast<double>(head.size()) + epsilon);
  for (size_t d = 0; d < weight.size(); ++d) head[d] *= scale * weight[d];
  const auto pairs = static_cast<size_t>(rope.rotated / 2);
  for (size_t i = 0; i < pairs; ++i) {
    const bool halves = rope.pairs == ops::Rope::Pairs::kHalves;
    double& first = head[halves ? i : 2 * i];
    double& second = head[halves ? i + pairs : 2 * i + 1];
    const double cosine = std::cos(angle(i)) * rope.magnitude;
    const double sine = std::sin(angle(i)) * rope.magnitude;
    const double x = first;
    first = x * cosine - second * sine;
    second = second * cosine + x * sine;
  }
  return head;
}

struct RopeCase {
  ops::Rope::Pairs pairs;
  int32_t head_dim, rotated, block_tokens;
  bool normed;
};

// Runs rope_and_store over two slices, the second with a slot for each position from 3 on and
// shared blocks below position 5, and compares queries and cache with the definition.
void check_rope(Isa isa, DType dtype, const RopeCase& test, int lanes) {
  constexpr int32_t kQueryHeads = 4;
  constexpr int32_t kHeads = 2;
  const Config config = {.isa = isa,
                         .dtype = dtype,
                         .shape = {test.head_dim, kQueryHeads, kHeads},
                         .block_tokens = test.block_tokens,
                         .window = 0,
                         .scale = 1};
  SCOPED_TRACE(fmt::format("{} rotated {} lanes {}", config.name(), test.rotated, lanes));
  std::vector<float> frequencies;
  for (int32_t i = 0; i < test.rotated / 2; ++i) {
    frequencies.push_back(
        std::pow(10000.0F, -2.0F * static_cast<float>(i) / static_cast<float>(test.rotated)));
  }
  const ops::Rope rope = {
      .pairs = test.pairs, .rotated = test.rotated, .frequencies = frequencies, .magnitude = 1.25F};
  const std::vector<float> query_weight = random_floats(test.head_dim, 11);
  const std::vector<float> key_weight = random_floats(test.head_dim, 12);
  ops::HeadNorm norm = {.query = query_weight, .key = key_weight, .epsilon = 1e-5F};
  if (!test.normed) norm = {};

  TestSequence first = make_sequence(config, 9, 21);
  TestSequence second = make_sequence(config, 8, 22);
  TestCache cache(config, 40);
  cache.place(first);
  cache.place(second);
  TestBatch batch(config, {{&first, 0, 9}, {&second, 3, 8}});
  batch.slices[1].write_from = 5;
  std::vector<float> angles(static_cast<size_t>(batch.rows() * test.rotated));
  const Rows<float> table = batch.view(angles, test.rotated);
  const std::vector<float> queries_before = batch.queries;
  LanePool pool(lanes);
  pool.run([&](Lane& lane) {
    ops::rope_angles(lane, rope, batch.positions, table);
    lane.barrier();
    ops::rope_and_store(lane, kernels_for(isa), batch.places(), rope.pairs, table, norm,
                        batch.view(batch.queries, batch.query_width),
                        batch.view(batch.keys, batch.width), batch.view(batch.values, batch.width),
                        cache.layer());
  });

  // Norm, sine, cosine and magnitude each round once or twice, two products and a sum: 10 u of
  // values that the rotation keeps below 2 * 1.25 * the norm's growth (at most sqrt(head_dim)).
  const double exact = 10 * 0x1p-24 * 2.5 * std::sqrt(test.head_dim);
  const double unit = dtype == DType::kF16 ? 0x1p-11 : dtype == DType::kBF16 ? 0x1p-8 : 0;
  const KvLayer& layer = cache.layer();
  const auto read = [&](const std::byte* at) {
    if (dtype == DType::kF32) return *reinterpret_cast<const float*>(at);
    const uint16_t bits = *reinterpret_cast<const uint16_t*>(at);
    return dtype == DType::kF16 ? f32_of_f16(bits) : f32_of_bf16(bits);
  };
  for (int64_t row = 0; row < batch.rows(); ++row) {
    const bool of_second = row >= 9;
    const int32_t position = batch.positions[static_cast<size_t>(row)];
    const auto angle = [&](size_t i) {
      return double{static_cast<float>(position) * frequencies[i]};
    };
    const auto head_of = [&](const std::vector<float>& from, int64_t width, int64_t head) {
      const auto begin = from.begin() + row * width + head * test.head_dim;
      return std::vector<double>(begin, begin + test.head_dim);
    };
    for (int64_t head = 0; head < kQueryHeads; ++head) {
      const std::vector<double> expected = turned(head_of(queries_before, batch.query_width, head),
                                                  rope, norm.query, norm.epsilon, angle);
      const std::vector<double> got = head_of(batch.queries, batch.query_width, head);
      for (size_t d = 0; d < expected.size(); ++d) ASSERT_NEAR(got[d], expected[d], exact);
    }
    const BlockId block =
        (of_second ? second : first).table[static_cast<size_t>(position / test.block_tokens)];
    const int64_t token = position % test.block_tokens;
    for (int64_t head = 0; head < kHeads; ++head) {
      const std::vector<double> expected =
          turned(head_of(batch.keys, batch.width, head), rope, norm.key, norm.epsilon, angle);
      const std::vector<double> values = head_of(batch.values, batch.width, head);
      const int64_t start = block.value * layer.block_stride + head * layer.head_stride;
      const int64_t size = row_bytes(dtype, 1);
      for (int64_t d = 0; d < test.head_dim; ++d) {
        const float key = read(layer.keys + start + (d * test.block_tokens + token) * size);
        const float value = read(layer.values + start + (token * test.head_dim + d) * size);
        if (of_second && position < 5) {
          ASSERT_TRUE(std::isnan(key) && std::isnan(value)) << "a shared block was written";
          continue;
        }
        const double expected_key = expected[static_cast<size_t>(d)];
        ASSERT_NEAR(key, expected_key, exact + std::fabs(expected_key) * unit + 0x1p-25);
        ASSERT_EQ(value, rounded(dtype, static_cast<float>(values[static_cast<size_t>(d)])));
      }
    }
  }
}

TEST(Rope, NormsRotatesAndStores) {
  constexpr RopeCase kCases[] = {{ops::Rope::Pairs::kHalves, 64, 64, 16, false},
                                 {ops::Rope::Pairs::kNeighbours, 64, 64, 16, false},
                                 {ops::Rope::Pairs::kHalves, 80, 20, 4, true},
                                 {ops::Rope::Pairs::kNeighbours, 20, 12, 1, true},
                                 {ops::Rope::Pairs::kNeighbours, 8, 8, 32, false},
                                 {ops::Rope::Pairs::kHalves, 128, 128, 3, true}};
  for (const Isa isa : isas()) {
    for (const DType dtype : kCacheTypes) {
      int lanes = 0;
      for (const RopeCase& test : kCases) check_rope(isa, dtype, test, lanes++ % 4 + 1);
    }
  }
}

}  // namespace
}  // namespace millrace
