#include "base/checked.h"

#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

namespace millrace {
namespace {

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

TEST(Checked, NothingWhereTheResultDoesNotFit) {
  EXPECT_EQ(checked_add(kMax - 1, uint64_t{1}), kMax);
  EXPECT_EQ(checked_add(kMax, uint64_t{1}), std::nullopt);
  EXPECT_EQ(checked_add(std::numeric_limits<int8_t>::min(), int8_t{-1}), std::nullopt);
  EXPECT_EQ(checked_multiply(uint64_t{1} << 32, uint64_t{1} << 31), uint64_t{1} << 63);
  EXPECT_EQ(checked_multiply(uint64_t{1} << 32, uint64_t{1} << 32), std::nullopt);
  EXPECT_EQ(checked_multiply(std::numeric_limits<int64_t>::min(), int64_t{-1}), std::nullopt);
}

TEST(Checked, AlignsUp) {
  EXPECT_EQ(checked_align_up<uint64_t>(0, 32), 0u);
  EXPECT_EQ(checked_align_up<uint64_t>(33, 32), 64u);
  EXPECT_EQ(checked_align_up<uint64_t>(64, 1), 64u);
  EXPECT_EQ(checked_align_up<uint64_t>(kMax - 31, 32), kMax - 31);
  EXPECT_EQ(checked_align_up<uint64_t>(kMax - 30, 32), std::nullopt);
}

}  // namespace
}  // namespace millrace
