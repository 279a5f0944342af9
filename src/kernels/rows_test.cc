#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fixtures/kernels/op_cases.h"

namespace millrace {
namespace {

class RowsTest : public testing::TestWithParam<Isa> {};

struct NormCase {
  ops::Norm::Kind kind;
  bool weight, bias;
};
constexpr auto kRms = ops::Norm::Kind::kRms;
constexpr auto kLayer = ops::Norm::Kind::kLayer;
constexpr NormCase kNorms[] = {{kRms, true, false},  {kRms, false, false},  {kRms, true, true},
                               {kLayer, true, true}, {kLayer, true, false}, {kLayer, false, false},
                               {kLayer, false, true}};

// A norm with its numbers.
struct NormOf {
  Floats weight, bias;
  ops::Norm norm;

  NormOf(const NormCase& test, int64_t width) {
    if (test.weight) weight = random_floats(width, 16);
    if (test.bias) bias = random_floats(width, 17);
    norm = {.kind = test.kind, .weight = weight, .bias = bias, .epsilon = 1e-5F};
  }
  NormOf(const NormOf&) = delete;
  NormOf& operator=(const NormOf&) = delete;
};

struct NormedElement {
  double value;
  double bound;
};

// A row's norm by its definition, in double, and how far it may be off. A sum of n terms is good to
// n roundings of their magnitudes, so a mean to n + 1 of the mean magnitude; a root to half as many
// as its sum of squares and one; then come a difference, a quotient, two products and a sum.
std::vector<NormedElement> expected_norm(std::span<const float> in, const ops::Norm& norm) {
  const auto count = static_cast<double>(in.size());
  const bool layer = norm.kind == ops::Norm::Kind::kLayer;
  double mean = 0;
  double magnitude = 0;
  for (const double x : in) {
    mean += layer ? x / count : 0;
    magnitude += layer ? std::fabs(x) / count : 0;
  }
  double squares = 0;
  for (const double x : in) squares += (x - mean) * (x - mean);
  const double root = std::sqrt(squares / count + norm.epsilon);
  std::vector<NormedElement> row;
  for (size_t i = 0; i < in.size(); ++i) {
    const double weight = norm.weight.empty() ? 1 : norm.weight[i];
    const double bias = norm.bias.empty() ? 0 : norm.bias[i];
    const double scaled = (in[i] - mean) / root * weight;
    const double bound = (count / 2 + 8) * std::fabs(scaled) +
                         (count + 1) * magnitude / root * std::fabs(weight) + std::fabs(bias);
    row.push_back({scaled + bias, bound * kRounding + kUnderflow});
  }
  return row;
}

TEST_P(RowsTest, NormsAndQuantises) {
  const CpuOps ops(kernels_for(GetParam()));
  for (const int64_t width : {1, 7, 32, 33, 512, 576, 1055}) {
    for (const int64_t rows : {1, 5, 66}) {
      for (const NormCase& test : kNorms) {
        Floats in = random_floats(rows * width, 15, 3);
        for (float& x : in) x += rows == 5 ? 4.0F : 0.0F;
        const NormOf norm(test, width);
        const Placed out = place(all_forms(width), rows, width);
        LanePool(3).run(
            [&](Lane& lane) { ops.norm(lane, rows_of(in, rows), norm.norm, out.view); });
        for (int64_t row = 0; row < rows; ++row) {
          const auto expected =
              expected_norm(std::span(in).subspan(at(row * width), at(width)), norm.norm);
          for (int64_t i = 0; i < width; ++i) {
            ASSERT_NEAR(out.view.f32[row * width + i], expected[at(i)].value, expected[at(i)].bound)
                << "width " << width << " row " << row << " element " << i;
          }
        }
        EXPECT_TRUE(forms_agree(GetParam(), out.view));
      }
    }
  }
}

// In place a row becomes what it becomes elsewhere, and what lies between rows stays.
TEST_P(RowsTest, NormInPlaceIsTheSameOnStridedRows) {
  const CpuOps ops(kernels_for(GetParam()));
  constexpr int64_t kRows = 5;
  for (const int64_t width : {1, 33, 96}) {
    for (const NormCase& test : kNorms) {
      const NormOf norm(test, width);
      const int64_t stride = width + 3;
      Floats values = random_floats(kRows * stride, 18);
      const Floats before = values;
      const Rows<float> rows = {values.data() + 1, kRows, width, stride};
      const Placed elsewhere = place({.f32 = true}, kRows, width);
      LanePool(2).run([&](Lane& lane) {
        ops.norm(lane, rows, norm.norm, elsewhere.view);
        lane.barrier();
        ops.norm_in_place(lane, rows, norm.norm);
      });
      for (int64_t i = 0; i < std::ssize(values); ++i) {
        const int64_t column = i % stride - 1;
        const bool inside = column >= 0 && column < width;
        const float expected =
            inside ? elsewhere.view.f32[i / stride * width + column] : before[at(i)];
        ASSERT_EQ(values[at(i)], expected) << "width " << width << " at " << i;
      }
    }
  }
}

TEST_P(RowsTest, AddNormsScalesAndAdds) {
  const CpuOps ops(kernels_for(GetParam()));
  constexpr int64_t kRows = 4;
  for (const int64_t width : {1, 40, 577}) {
    Floats in = random_floats(kRows * width, 19, 2);
    const Floats start = random_floats(kRows * width, 20);
    for (const float scale : {1.0F, 0.22F}) {
      Floats out = start;
      LanePool(3).run([&](Lane& lane) {
        ops.add(lane, rows_of(in, kRows), nullptr, scale, rows_of(out, kRows));
      });
      for (size_t i = 0; i < out.size(); ++i) {
        EXPECT_EQ(out[i], std::fma(in[i], scale, start[i]));
      }
      for (const NormCase& test : kNorms) {
        const NormOf norm(test, width);
        out = start;
        LanePool(3).run([&](Lane& lane) {
          ops.add(lane, rows_of(in, kRows), &norm.norm, scale, rows_of(out, kRows));
        });
        for (int64_t row = 0; row < kRows; ++row) {
          const auto expected =
              expected_norm(std::span(in).subspan(at(row * width), at(width)), norm.norm);
          for (int64_t i = 0; i < width; ++i) {
            const double sum = start[at(row * width + i)] + scale * expected[at(i)].value;
            ASSERT_NEAR(out[at(row * width + i)], sum,
                        expected[at(i)].bound + 2 * kRounding * std::fabs(sum));
          }
        }
      }
    }
  }
}

// tanh is good to 8 roundings of itself, also where it is small; then comes a product.
TEST_P(RowsTest, ScalesAndCaps) {
  const CpuOps ops(kernels_for(GetParam()));
  constexpr int64_t kWidth = 9000;  // of several pieces
  Floats in = random_floats(2 * kWidth, 21, 40);
  for (size_t i = 0; i < 50; ++i)
    in[i] = std::ldexp(i % 2 == 0 ? 1.0F : -1.0F, 20 - 3 * static_cast<int>(i));
  in[50] = 0;
  for (const float softcap : {0.0F, 30.0F, 1.0F}) {
    Floats out = in;
    LanePool(3).run([&](Lane& lane) { ops.scale(lane, rows_of(out, 2), 0.75F, softcap); });
    for (size_t i = 0; i < in.size(); ++i) {
      const double x = double{in[i]} * 0.75F;
      const double expected = softcap > 0 ? softcap * std::tanh(x / softcap) : x;
      ASSERT_NEAR(out[i], expected, 10 * kRounding * std::fabs(expected) + kUnderflow) << in[i];
    }
    Floats alone(in.begin() + kWidth, in.end());
    LanePool(1).run([&](Lane& lane) { ops.scale(lane, rows_of(alone, 1), 0.75F, softcap); });
    EXPECT_EQ(bits_of(alone), bits_of(std::span(out).subspan(kWidth)));
  }
  Floats odd = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                -std::numeric_limits<float>::infinity()};
  LanePool(1).run([&](Lane& lane) { ops.scale(lane, rows_of(odd, 1), 1, 30); });
  EXPECT_TRUE(std::isnan(odd[0]));
  EXPECT_EQ(odd[1], 30);
  EXPECT_EQ(odd[2], -30);
}

// Of a block's sum as the tier's lanes hold it.
int sum_in(int32_t lanes, Isa isa) {
  const bool in_pairs = isa == Isa::kPortable8 || isa == Isa::kAvx2;
  return in_pairs ? static_cast<int16_t>(lanes & 0xffff) + (lanes >> 16) : lanes;
}

// Random ones, zeros, ones too small to count and one that leaves nothing of its neighbours.
Floats four_blocks(int64_t width) {
  Floats in = random_floats(4 * width, 17, 5);
  std::fill_n(in.begin() + width, width, 0.0F);
  std::fill_n(in.begin() + 2 * width, width, 1e-38F);
  in[at(3 * width)] = 1e30F;
  return in;
}

template <typename Block>
void expect_codes(const Block& block, size_t b, const Floats& seen) {
  constexpr size_t kWidth = sizeof block.q;
  for (size_t k = 0; k < kWidth; ++k) {
    const float q = block.q[k];
    if (b != 2) {
      EXPECT_EQ(q * block.scale, seen[b * kWidth + k]);
    }
    EXPECT_LE(std::fabs(q), 127);
  }
  if (b == 2) {
    EXPECT_EQ(block.scale, 0);
  }
}

TEST_P(RowsTest, QuantisedBlocksAreWhatTheDefinitionSays) {
  const Floats in = four_blocks(32);
  const Placed placed = converted(GetParam(), {.q8 = true}, in, 1);
  const auto* blocks = reinterpret_cast<const Q8Block*>(placed.view.q8);
  for (size_t b = 0; b < 4; ++b) {
    expect_codes(blocks[b], b, as_8_bits(in, 32));
    const int sum = std::accumulate(blocks[b].q, blocks[b].q + 32, 0);
    EXPECT_EQ(sum_in(blocks[b].minus_sum, GetParam()), -sum);
    EXPECT_EQ(blocks[b].scaled_sum, blocks[b].scale * static_cast<float>(sum));
  }
}

TEST_P(RowsTest, QuantisedBlocksOf256AreWhatTheDefinitionSays) {
  const Floats in = four_blocks(256);
  const Placed placed = converted(GetParam(), {.q8_k = true}, in, 1);
  const auto* blocks = reinterpret_cast<const Q8KBlock*>(placed.view.q8_k);
  for (size_t b = 0; b < 4; ++b) {
    expect_codes(blocks[b], b, as_8_bits(in, 256));
    for (int i = 0; i < 16; ++i) {
      const int8_t* q = blocks[b].q + 16 * i;
      const int sum = std::accumulate(q, q + 16, 0);
      EXPECT_EQ(sum_in(blocks[b].minus_sums[i], GetParam()), -32 * sum);
      if (i % 2 == 0) {
        EXPECT_EQ(blocks[b].sums[i / 2], std::accumulate(q, q + 32, 0));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, RowsTest, testing::ValuesIn(supported_isas()),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace
}  // namespace millrace
