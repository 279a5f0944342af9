#include "tensor/fresh_pages.h"

#include <cstring>
#include <memory>
#include <mutex>

#include <gtest/gtest.h>

#include "tensor/buffer.h"

namespace millrace {
namespace {

constexpr int64_t kPages = 24;

// Pages whose number is asked for take long.
class FreshPagesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!may_have_huge_pages()) GTEST_SKIP() << why_no_huge_pages();
  }

  std::unique_ptr<FreshPages> slow_between(int64_t first, int64_t last) {
    return std::make_unique<FreshPages>(memory(), [this, first, last, calls = 0]() mutable {
      const int64_t page = calls / 2;
      if (calls++ % 2 == 1) time_ += page >= first && page < last ? 10'000'000 : 200'000;
      return time_;
    });
  }
  std::span<std::byte> memory() const {
    return {buffer_.data(), static_cast<size_t>(buffer_.size())};
  }
  int64_t huge() const { return page_use(memory()).huge / kHugePageBytes; }

 private:
  const Buffer buffer_ = Buffer::allocate(kPages * kHugePageBytes).value();
  int64_t time_ = 0;
};

TEST_F(FreshPagesTest, AreHugeWhereTheseAreAtHand) {
  const auto pages = slow_between(0, 0);
  pages->provide(0, 5 * kHugePageBytes);
  EXPECT_EQ(page_use(memory()).resident, 5 * kHugePageBytes);
  pages->provide(4 * kHugePageBytes + 1, kPages * kHugePageBytes);
  EXPECT_EQ(page_use(memory()).resident, kPages * kHugePageBytes);
  EXPECT_FALSE(pages->moves());
  pages->start_moving();
  EXPECT_EQ(page_use(memory()).resident, kPages * kHugePageBytes);
}

TEST_F(FreshPagesTest, AreSmallOnceAHugeOneWasSlowAndMoveLater) {
  const auto pages = slow_between(3, 4);
  pages->provide(0, kPages * kHugePageBytes);
  EXPECT_EQ(page_use(memory()).resident, kPages * kHugePageBytes);
  EXPECT_LE(huge(), 4);
  EXPECT_TRUE(pages->moves());
  for (size_t i = 0; i < memory().size(); i += 4096) memory()[i] = std::byte(i / 4096 % 251);
  const int64_t before = huge();
  pages->start_moving();
  pages->await_moved();
  EXPECT_GE(huge(), before);
  for (size_t i = 0; i < memory().size(); i += 4096) {
    ASSERT_EQ(memory()[i], std::byte(i / 4096 % 251)) << i;
  }
}

TEST_F(FreshPagesTest, AreAnyWhereSmallOnesAreSlowToo) {
  const auto pages = slow_between(0, kPages);
  pages->provide(0, kPages * kHugePageBytes);
  EXPECT_EQ(page_use(memory()).resident, kPages * kHugePageBytes);
  const int64_t before = huge();
  EXPECT_TRUE(pages->moves());  // what came on small ones before that was known
  pages->start_moving();
  pages->await_moved();
  EXPECT_GE(huge(), before);
}

TEST_F(FreshPagesTest, AFewSlowSmallOnesAreChance) {
  const auto pages = slow_between(0, 8);
  pages->provide(0, kPages * kHugePageBytes);
  EXPECT_TRUE(pages->moves());
}

TEST_F(FreshPagesTest, KeepWhatIsThere) {
  std::memset(memory().data(), 7, memory().size());
  const auto pages = slow_between(3, 5);
  pages->provide(0, kPages * kHugePageBytes);
  for (const std::byte byte : memory()) ASSERT_EQ(byte, std::byte{7});
}

TEST_F(FreshPagesTest, StopMovingWhenTheyGo) {
  auto pages = slow_between(0, 1);
  pages->provide(0, kPages * kHugePageBytes);
  pages->start_moving();
  pages.reset();
  EXPECT_EQ(page_use(memory()).resident, kPages * kHugePageBytes);
}

}  // namespace
}  // namespace millrace
