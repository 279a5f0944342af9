#include <cmath>
#include <span>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/ops.h"
#include "tensor/float_bits.h"
#include "tests/fixtures/kernels/attention_harness.h"

namespace millrace {
namespace {

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
    CpuOps(kernels_for(isa)).rope_angles(lane, rope, batch.positions, table);
    lane.barrier();
    CpuOps(kernels_for(isa))
        .rope_and_store(lane, batch.places(), rope.pairs, table, norm,
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
        const float key = read(layer.keys + start + key_place(config, token, d) * size);
        const float value = read(layer.values + start + value_place(config, token, d) * size);
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
