#include "apps/commands/bench/busy_cpus.h"

#include <cerrno>
#include <chrono>
#include <memory>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>

#include <gtest/gtest.h>

namespace millrace {
namespace {

double ended_children_cpu_seconds() {
  rusage usage = {};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec) * 1e-6;
}

// CPU time that children use which run, or rest, for 200 ms.
double cpu_seconds_of(bool running) {
  const double before = ended_children_cpu_seconds();
  {
    const absl::StatusOr<std::unique_ptr<BusyCpus>> busy = BusyCpus::start();
    EXPECT_TRUE(busy.ok()) << busy.status();
    if (!busy.ok()) return 0;
    if (running) (*busy)->resume();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    if (running) (*busy)->rest();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  return ended_children_cpu_seconds() - before;
}

TEST(BusyCpus, UseTheirCpusOnlyBetweenResumeAndRest) {
  cpu_set_t mine;
  ASSERT_EQ(::sched_getaffinity(0, sizeof mine, &mine), 0);
  EXPECT_LT(cpu_seconds_of(false), 0.05);
  const double used = cpu_seconds_of(true);
  EXPECT_GT(used, 0.02);  // on a machine that others keep busy as well
  EXPECT_LT(used, 0.3 * CPU_COUNT(&mine));
}

TEST(BusyCpus, AreOneForEachCpuAndLeaveNoChildBehind) {
  cpu_set_t mine;
  ASSERT_EQ(::sched_getaffinity(0, sizeof mine, &mine), 0);
  {
    const absl::StatusOr<std::unique_ptr<BusyCpus>> busy = BusyCpus::start();
    ASSERT_TRUE(busy.ok()) << busy.status();
    EXPECT_EQ((*busy)->count(), CPU_COUNT(&mine));
    (*busy)->resume();
  }
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

}  // namespace
}  // namespace millrace
