#include "base/random.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

// Known answers published with the algorithm's reference code (Random123, kat_vectors).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox({0, 0}, {0, 0, 0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(SamplingUniform, DependsOnEveryPartOfItsKeyAndStaysBelowOne) {
  const double base = sampling_uniform(1, 0, 0);
  EXPECT_NE(base, sampling_uniform(2, 0, 0));
  EXPECT_NE(base, sampling_uniform(uint64_t{1} << 33, 0, 0));
  EXPECT_NE(base, sampling_uniform(1, 1, 0));
  EXPECT_NE(base, sampling_uniform(1, 0, 1));
}

TEST(Uniform, StaysBelowOneAndKeepsEveryBitOfItsType) {
  EXPECT_EQ(uniform_float(0), 0.0F);
  EXPECT_EQ(uniform_float(0xffffffff), 1 - 0x1p-24F);
  EXPECT_EQ(uniform_double(0, 0), 0.0);
  EXPECT_EQ(uniform_double(0, 1U << 11), 0x1p-53);
  EXPECT_EQ(uniform_double(1, 0), 0x1p-32);
  EXPECT_EQ(uniform_double(0xffffffff, 0xffffffff), 1 - 0x1p-53);
}

// The first word's leading 24 bits are zero, the number is not.
TEST(SamplingUniform, HasMoreThanTwentyFourBits) {
  const double uniform = sampling_uniform(2812526, 0, 3);
  EXPECT_GT(uniform, 0);
  EXPECT_LT(uniform, 0x1p-24);
}

}  // namespace
}  // namespace millrace
