#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "tests/fixtures/kernels/op_cases.h"

namespace millrace {
namespace {

class RowsTest : public testing::TestWithParam<Isa> {};

// A sum of squares of n terms is good to n roundings, its root to half as many and one, then a
// quotient and two products.
TEST_P(RowsTest, RmsNormNormsAndQuantises) {
  for (const int64_t width : {1, 7, 32, 33, 576, 1055}) {
    for (const int64_t rows : {1, 5, 66}) {
      Floats in = random_floats(rows * width, 15, 3);
      const Floats weight = random_floats(width, 16);
      const ActivationForms forms{
          .f32 = true, .q8 = width % 32 == 0, .q16 = width % 32 == 0, .bf16 = true};
      const Placed out = place(forms, rows, width);
      LanePool(3).run([&](Lane& lane) {
        CpuOps(kernels_for(GetParam())).rms_norm(lane, rows_of(in, rows), weight, 1e-5F, out.view);
      });
      for (int64_t row = 0; row < rows; ++row) {
        double squares = 0;
        for (int64_t i = 0; i < width; ++i) squares += std::pow(double{in[at(row * width + i)]}, 2);
        const double root = std::sqrt(squares / static_cast<double>(width) + 1e-5F);
        for (int64_t i = 0; i < width; ++i) {
          const double expected = in[at(row * width + i)] / root * weight[at(i)];
          const double roundings = static_cast<double>(width) / 2 + 6;
          ASSERT_NEAR(out.view.f32[row * width + i], expected,
                      roundings * kRounding * std::fabs(expected) + kUnderflow);
        }
      }
      EXPECT_TRUE(forms_agree(GetParam(), out.view));
    }
  }
}

TEST_P(RowsTest, QuantisedBlocksAreWhatTheDefinitionSays) {
  Floats in = random_floats(4 * 32, 17, 5);
  std::fill_n(in.begin() + 32, 32, 0.0F);
  std::fill_n(in.begin() + 64, 32, 1e-38F);
  in[96] = 1e30F;
  const Placed placed = converted(GetParam(), {.q8 = true}, in, 1);
  const auto* blocks = reinterpret_cast<const Q8Block*>(placed.view.q8);
  const Floats seen = as_q8(in);
  for (size_t b = 0; b < 4; ++b) {
    int sum = 0;
    int low = 0;
    for (size_t k = 0; k < 32; ++k) {
      const float q = blocks[b].q[k];
      if (b != 2) {
        EXPECT_EQ(q * blocks[b].scale, seen[b * 32 + k]);
      }
      EXPECT_LE(std::fabs(q), 127);
      sum += blocks[b].q[k];
      if (k < 16) low += blocks[b].q[k];
    }
    EXPECT_EQ(blocks[b].minus_sums[0] + blocks[b].minus_sums[1], -sum);
    EXPECT_EQ(blocks[b].minus_low_sums[0] + blocks[b].minus_low_sums[1], -low);
    EXPECT_EQ(blocks[b].minus_high_sums[0] + blocks[b].minus_high_sums[1], low - sum);
    EXPECT_EQ(blocks[b].scaled_sum, blocks[b].scale * static_cast<float>(sum));
  }
  EXPECT_EQ(blocks[2].scale, 0);
}

INSTANTIATE_TEST_SUITE_P(Every, RowsTest, testing::ValuesIn(supported_isas()),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace
}  // namespace millrace
