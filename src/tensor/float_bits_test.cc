#include "tensor/float_bits.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(Float16, EveryValueSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = f32_of_f16(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(f32_of_f16(f16_of_f32(value)))) << bits;
    } else {
      EXPECT_EQ(f16_of_f32(value), half) << bits;
    }
  }
}

TEST(Float16, RoundsToNearestTiesToEven) {
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const auto low = static_cast<uint16_t>(bits);
    const auto high = static_cast<uint16_t>(bits + 1);
    const float middle = (f32_of_f16(low) + f32_of_f16(high)) / 2;  // exact in float32
    EXPECT_EQ(f16_of_f32(middle), bits % 2 == 0 ? low : high) << bits;
    EXPECT_EQ(f16_of_f32(std::nextafter(middle, 0.0F)), low) << bits;
    EXPECT_EQ(f16_of_f32(std::nextafter(middle, 1e9F)), high) << bits;
  }
}

TEST(Float16, BeyondTheLargestIsInfinity) {
  EXPECT_EQ(f16_of_f32(65519.99F), 0x7bff);
  EXPECT_EQ(f16_of_f32(65520.0F), 0x7c00);
  EXPECT_EQ(f16_of_f32(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_EQ(f32_of_f16(0x8000), 0.0F);
  EXPECT_TRUE(std::signbit(f32_of_f16(0x8000)));
}

TEST(BFloat16, RoundTripAndRounding) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = f32_of_bf16(half);
    EXPECT_TRUE(std::isnan(value) || bf16_of_f32(value) == half) << bits;
  }
  EXPECT_EQ(bf16_of_f32(std::bit_cast<float>(0x3f808000U)), 0x3f80);  // a tie, to even
  EXPECT_EQ(bf16_of_f32(std::bit_cast<float>(0x3f818000U)), 0x3f82);
  EXPECT_TRUE(std::isnan(f32_of_bf16(bf16_of_f32(std::numeric_limits<float>::quiet_NaN()))));
}

}  // namespace
}  // namespace millrace
