#include "base/clock.h"

#include <ctime>
#include <sys/syscall.h>
#include <type_traits>
#include <unistd.h>

#include <absl/time/clock.h>
#include <gtest/gtest.h>

namespace {

// By how much the wall clock was set.
time_t wall_jump_s = 0;

}  // namespace

// Stands in for the C library's in this program.
extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const long result = syscall(SYS_clock_gettime, clock, time);
  if (clock == CLOCK_REALTIME) time->tv_sec += wall_jump_s;
  return static_cast<int>(result);
}

namespace millrace {
namespace {

static_assert(!std::is_convertible_v<absl::Time, Instant> &&
              !std::is_convertible_v<Instant, absl::Time> &&
              !std::is_convertible_v<absl::Duration, Instant>);

TEST(Clock, DoesNotFollowTheWallClock) {
  const RealClock clock;
  for (const time_t jump_s : {3600, -7200}) {
    const Instant before = clock.now();
    const absl::Time wall_before = absl::Now();
    wall_jump_s += jump_s;
    const absl::Duration wall_took = absl::Now() - wall_before;
    EXPECT_GT(absl::AbsDuration(wall_took), absl::Minutes(59));  // it was set
    const absl::Duration took = clock.now() - before;
    EXPECT_GE(took, absl::ZeroDuration());
    EXPECT_LT(took, absl::Minutes(1));
  }
  wall_jump_s = 0;
}

TEST(Instant, ComparesAndSubtracts) {
  const Instant origin, later = origin + absl::Seconds(2);
  EXPECT_LT(origin, later);
  EXPECT_EQ(later - origin, absl::Seconds(2));
  EXPECT_EQ(later - absl::Seconds(2), origin);
  EXPECT_LT(Instant::infinite_past(), origin);
  EXPECT_GT(Instant::infinite_future(), later);
  EXPECT_EQ(later - Instant::infinite_past(), absl::InfiniteDuration());
}

}  // namespace
}  // namespace millrace
