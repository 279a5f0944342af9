#include "base/system/lanes.h"

#include <chrono>
#include <numeric>
#include <thread>
#include <time.h>
#include <vector>

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(LaneShare, CoversTheWholeOnceInOrderAndEvenly) {
  for (int lanes = 1; lanes <= 7; ++lanes) {
    for (const int64_t total : {0, 1, 5, 16, 17, 100}) {
      for (const int64_t grain : {1, 4, 16}) {
        LanePool pool(lanes);
        std::vector<WorkRange> shares(static_cast<size_t>(lanes));
        pool.run([&](Lane& lane) {
          shares[static_cast<size_t>(lane.index())] = lane.share(total, grain);
        });
        int64_t next = 0;
        for (const WorkRange& share : shares) {
          EXPECT_EQ(share.begin, next);
          EXPECT_LE(share.size(), (total + grain - 1) / grain / lanes * grain + grain);
          next = share.end;
        }
        EXPECT_EQ(next, total);
      }
    }
  }
}

TEST(LanePool, BarriersOrderWhatLanesWrite) {
  constexpr int kLanes = 4;
  constexpr int kRounds = 2000;
  LanePool pool(kLanes);
  std::vector<int> cells(kLanes, 0);
  std::vector<int> wrong(kLanes, 0);
  pool.run([&](Lane& lane) {
    const auto me = static_cast<size_t>(lane.index());
    for (int round = 1; round <= kRounds; ++round) {
      cells[me] = round;
      lane.barrier();
      wrong[me] += std::accumulate(cells.begin(), cells.end(), 0) != round * kLanes;
      lane.barrier();
    }
  });
  EXPECT_EQ(wrong, std::vector<int>(kLanes, 0));
}

TEST(LanePool, RunsEveryLaneOfManyShortJobs) {
  LanePool pool(3);
  std::vector<int> runs(3, 0);
  for (int job = 0; job < 5000; ++job) {
    pool.run([&](Lane& lane) { ++runs[static_cast<size_t>(lane.index())]; });
  }
  EXPECT_EQ(runs, std::vector<int>(3, 5000));
}

double process_cpu_seconds() {
  timespec now = {};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

TEST(LanePool, SleepsWhenIdle) {
  LanePool pool(4);
  pool.run([](Lane&) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const double before = process_cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(process_cpu_seconds() - before,
            0.1);  // three spinning lanes would have used 0.3 s and more
}

}  // namespace
}  // namespace millrace
