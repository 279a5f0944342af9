#include "base/system/signals_blocked.h"

#include <array>
#include <pthread.h>
#include <thread>

#include <gtest/gtest.h>

#include "base/system/lanes.h"

namespace millrace {
namespace {

bool is_blocked(int signal) {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return sigismember(&mask, signal) == 1;
}

TEST(SignalsBlocked, ThreadsStartedMeanwhileNeverTakeSignals) {
  bool in_thread = false;
  bool fault_in_thread = true;
  std::thread thread;
  {
    const SignalsBlocked blocked;
    thread = std::thread([&] {
      in_thread = is_blocked(SIGWINCH) && is_blocked(SIGINT) && is_blocked(SIGTSTP);
      fault_in_thread = is_blocked(SIGBUS);
    });
  }
  thread.join();
  EXPECT_TRUE(in_thread);
  EXPECT_FALSE(fault_in_thread);
  EXPECT_FALSE(is_blocked(SIGWINCH));
}

TEST(SignalsBlocked, LanesTakeNone) {
  LanePool lanes(3);
  std::array<bool, 3> blocked = {};
  lanes.run([&](Lane& lane) { blocked[static_cast<size_t>(lane.index())] = is_blocked(SIGHUP); });
  EXPECT_EQ(blocked, (std::array<bool, 3>{false, true, true}));
}

}  // namespace
}  // namespace millrace
