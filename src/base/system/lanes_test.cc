#include "base/system/lanes.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <numeric>
#include <thread>
#include <time.h>
#include <vector>

#include <fmt/format.h>
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

void wait_for(const std::atomic<bool>& flag) {
  while (!flag) std::this_thread::sleep_for(std::chrono::microseconds(100));
}

// Keeps every lane but the caller's out of the job until `flag` is set.
void hold_others(std::thread::id caller, const std::atomic<bool>& flag) {
  if (std::this_thread::get_id() != caller) wait_for(flag);
}

// How often each element was in a piece. Plain integers: a thread sanitizer sees two lanes at one.
class Visits {
 public:
  explicit Visits(int64_t total) : counts_(static_cast<size_t>(total)) {}
  void add(WorkRange piece) {
    for (int64_t i = piece.begin; i < piece.end; ++i) ++counts_.at(static_cast<size_t>(i));
  }
  bool are_all(int count) const {
    return std::ranges::all_of(counts_, [=](int visits) { return visits == count; });
  }

 private:
  std::vector<int> counts_;
};

TEST(LanePieces, VisitEveryElementOnceInWholeGrains) {
  for (const int lanes : {1, 2, 3, 5, 9}) {
    LanePool pool(lanes);
    for (const int64_t total : {0, 1, 2, 7, 64, 1000, 70000}) {
      for (const int64_t grain : {1, 3, 16}) {
        SCOPED_TRACE(fmt::format("{} lanes, {} by {}", lanes, total, grain));
        Visits visits(total);
        std::atomic<int> misplaced = 0;
        std::atomic<int> unseen = 0;
        pool.run([&](Lane& lane) {
          lane.for_each_piece(total, grain, [&](WorkRange piece) {
            misplaced += piece.size() <= 0 || piece.begin % grain != 0 ||
                         (piece.end % grain != 0 && piece.end != total);
            visits.add(piece);
          });
          lane.barrier();
          unseen += !visits.are_all(1);
        });
        EXPECT_TRUE(visits.are_all(1));
        EXPECT_EQ(misplaced, 0);
        EXPECT_EQ(unseen, 0);
      }
    }
  }
}

TEST(LanePieces, ComeFromTheFrontOfAShareAndTheBackOfOthers) {
  LanePool pool(2);
  const auto caller = std::this_thread::get_id();
  std::atomic<bool> claimed = false;
  std::vector<int64_t> begins;
  pool.run([&](Lane& lane) {
    hold_others(caller, claimed);
    lane.for_each_piece(32, 1, [&](WorkRange piece) { begins.push_back(piece.begin); });
    claimed = true;
    lane.barrier();
  });
  EXPECT_EQ(begins, (std::vector<int64_t>{0, 8, 12, 14, 15, 24, 20, 18, 17, 16}));
}

// Were a barrier to wait for the lane, neither would go on.
TEST(LanePieces, OfALateLaneAreDoneByTheOthers) {
  constexpr int kPhases = 100;  // more than the ring of calls holds
  LanePool pool(2);
  const auto caller = std::this_thread::get_id();
  std::vector<Visits> visits(kPhases, Visits(50));
  std::atomic<bool> finished = false;
  std::atomic<int> unseen = 0;
  pool.run([&](Lane& lane) {
    hold_others(caller, finished);
    for (Visits& phase : visits) {
      lane.for_each_piece(50, 1, [&](WorkRange piece) { phase.add(piece); });
      lane.barrier();
      unseen += !phase.are_all(1);
    }
    finished = true;
  });
  EXPECT_EQ(unseen, 0);
  for (const Visits& phase : visits) EXPECT_TRUE(phase.are_all(1));
}

// Each phase sums what the one before it wrote: lanes fall behind and come back anywhere.
TEST(LanePieces, OrderWhatPhasesWriteThoughLanesFallBehind) {
  constexpr int64_t kCells = 24;
  constexpr int kPhases = 300;
  for (const int lanes : {2, 3, 8}) {
    LanePool pool(lanes);
    std::vector<int64_t> cells(kCells, 1), next(kCells);
    std::vector<int64_t> expected = cells;
    for (int phase = 0; phase < kPhases; ++phase) {
      const int64_t sum = std::accumulate(expected.begin(), expected.end(), int64_t{0}) % 1000;
      for (size_t i = 0; i < expected.size(); ++i) {
        expected[i] = (sum + expected[i] + static_cast<int64_t>(i)) % 1000;
      }
    }
    std::atomic<uint32_t> ticket = 0;
    pool.run([&](Lane& lane) {
      for (int phase = 0; phase < kPhases; ++phase) {
        const std::vector<int64_t>& from = phase % 2 == 0 ? cells : next;
        std::vector<int64_t>& to = phase % 2 == 0 ? next : cells;
        if (++ticket % 29 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
        lane.for_each_piece(kCells, 1, [&](WorkRange piece) {
          const int64_t sum = std::accumulate(from.begin(), from.end(), int64_t{0}) % 1000;
          for (int64_t i = piece.begin; i < piece.end; ++i) {
            const auto cell = static_cast<size_t>(i);
            to[cell] = (sum + from[cell] + i) % 1000;
          }
        });
        lane.barrier();
      }
    });
    EXPECT_EQ(cells, expected) << lanes;
  }
}

TEST(LanePieces, OfManyCallsNeedNoBarrierBetween) {
  for (const int lanes : {2, 5}) {
    LanePool pool(lanes);
    std::vector<Visits> visits(50, Visits(11));
    std::atomic<int> unseen = 0;
    pool.run([&](Lane& lane) {
      for (Visits& call : visits) {
        lane.for_each_piece(11, 2, [&](WorkRange piece) { call.add(piece); });
      }
      lane.barrier();
      for (const Visits& call : visits) unseen += !call.are_all(1);
    });
    EXPECT_EQ(unseen, 0);
  }
}

TEST(LanePieces, AreDoneWhenTheJobReturns) {
  for (const int lanes : {2, 3, 8}) {
    LanePool pool(lanes);
    for (int job = 0; job < 2000; ++job) {
      const auto visits = std::make_unique<Visits>(16);  // gone before the next job
      pool.run([&](Lane& lane) {
        lane.for_each_piece(16, 1, [&](WorkRange piece) { visits->add(piece); });
        lane.barrier();
        lane.for_each_piece(16, 1, [&](WorkRange piece) { visits->add(piece); });
      });
      ASSERT_TRUE(visits->are_all(2));
    }
  }
}

TEST(LanePiecesDeathTest, CallNothingOfTheirLane) {
  const auto in_piece = [](absl::FunctionRef<void(Lane&)> call) {
    LanePool pool(1);
    pool.run([&](Lane& lane) { lane.for_each_piece(1, 1, [&](WorkRange) { call(lane); }); });
  };
  EXPECT_DEATH(in_piece([](Lane& lane) { lane.index(); }), "within a piece");
  EXPECT_DEATH(in_piece([](Lane& lane) { lane.share(1); }), "within a piece");
  EXPECT_DEATH(in_piece([](Lane& lane) { lane.barrier(); }), "within a piece");
  EXPECT_DEATH(in_piece([](Lane& lane) { lane.for_each_piece(1, 1, [](WorkRange) {}); }),
               "within a piece");
}

TEST(LaneShares, AreEachDoneOnceWithTheirOwnMemory) {
  for (const int lanes : {1, 2, 5}) {
    LanePool pool(lanes);
    std::vector<int64_t> sums(static_cast<size_t>(lanes));
    pool.run([&](Lane& lane) {
      for (int round = 0; round < 100; ++round) {
        lane.for_each_share(100, 4, [&](int owner, WorkRange share) {
          sums.at(static_cast<size_t>(owner)) += share.size();
        });
        lane.barrier();
      }
    });
    EXPECT_EQ(std::accumulate(sums.begin(), sums.end(), int64_t{0}), 100 * 100);
    EXPECT_EQ(*std::ranges::max_element(sums), (100 / 4 + lanes - 1) / lanes * 4 * 100);
  }
}

TEST(LanePool, BarriersOrderWhatLanesWrite) {
  for (const int lanes : {2, 4}) {
    const int rounds = lanes == 2 ? 2000 : 200;  // each takes long where lanes share CPUs
    LanePool pool(lanes);
    std::vector<int> cells(static_cast<size_t>(lanes), 0);
    std::vector<int> wrong(static_cast<size_t>(lanes), 0);
    pool.run([&](Lane& lane) {
      const auto me = static_cast<size_t>(lane.index());
      for (int round = 1; round <= rounds; ++round) {
        cells[me] = round;
        lane.barrier();
        wrong[me] += std::accumulate(cells.begin(), cells.end(), 0) != round * lanes;
        lane.barrier();
      }
    });
    EXPECT_EQ(wrong, std::vector<int>(static_cast<size_t>(lanes), 0));
  }
}

// From the call of index() or share() on, though pieces were claimed before and come between.
TEST(LanePool, BarriersWaitForLanesThatHaveAPartOfTheirOwn) {
  for (const bool by_index : {true, false}) {
    LanePool pool(3);
    const auto caller = std::this_thread::get_id();
    std::vector<int> own(3, 0);
    std::atomic<int> wrong = 0;
    pool.run([&](Lane& lane) {
      lane.for_each_piece(10, 1, [](WorkRange) {});
      lane.barrier();
      if (std::this_thread::get_id() != caller) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
      const int64_t me = by_index ? lane.index() : lane.share(3).begin;
      for (int round = 1; round <= 50; ++round) {
        lane.for_each_piece(3, 1, [](WorkRange) {});
        own[static_cast<size_t>(me)] = round;
        lane.barrier();
        wrong += std::accumulate(own.begin(), own.end(), 0) != 3 * round;
        lane.barrier();
      }
      own[static_cast<size_t>(me)] = -1;
    });
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(own, std::vector<int>(3, -1));
  }
}

TEST(LanePool, RunsEveryLaneOfManyShortJobs) {
  LanePool pool(3);
  std::vector<int> runs(3, 0);
  for (int job = 0; job < 5000; ++job) {
    pool.run([&](Lane& lane) { ++runs[static_cast<size_t>(lane.index())]; });
  }
  EXPECT_EQ(runs, std::vector<int>(3, 5000));
}

TEST(LanePool, ReturnsWhenNoLaneIsInside) {
  LanePool pool(4);
  const auto caller = std::this_thread::get_id();
  for (int job = 0; job < 20; ++job) {
    std::atomic<int> inside = 0;
    std::atomic<bool> entered = false;
    pool.run([&](Lane&) {
      ++inside;
      if (std::this_thread::get_id() == caller) {
        wait_for(entered);
      } else {
        entered = true;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
      --inside;
    });
    EXPECT_EQ(inside, 0);
  }
}

TEST(LanePool, DoesNotWaitForALaneThatIsNotNeeded) {
  for (int job = 0; job < 200; ++job) {
    LanePool pool(3);  // its threads have hardly started
    std::atomic<int> runs = 0;
    pool.run([&](Lane&) { ++runs; });
    EXPECT_GE(runs, 1);
    EXPECT_LE(runs, 3);
  }
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

TEST(LanePool, SleepsAtABarrierThatStaysShut) {
  LanePool pool(4);
  double used = 0;
  pool.run([&](Lane& lane) {
    if (lane.index() == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      const double before = process_cpu_seconds();
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      used = process_cpu_seconds() - before;
    }
    lane.barrier();
  });
  EXPECT_LT(used, 0.1);
}

}  // namespace
}  // namespace millrace
