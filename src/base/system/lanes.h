#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include <absl/functional/function_ref.h>

namespace millrace {

class LanePool;

// Half-open range of work.
struct WorkRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};

// One thread's part in a single-program multiple-data job: every lane runs the same code, with the
// same arguments, and makes the same calls of its lane in the same order.
//
// Work is claimed in pieces, and a barrier waits for pieces, not for lanes: a lane that the system
// has taken off its CPU holds up no more than the piece it is in. When it comes back it finds
// nothing to claim in the calls that the others have done without it, passes their barriers, and
// catches up. So a lane may touch what others see only inside a piece, or once it has asked for its
// index() or its share(): from there to the job's end, barriers wait for every lane.
class Lane {
 public:
  // In [0, count()). From here on barriers wait for every lane.
  int index() {
    wait_for_lanes();
    return index_;
  }
  int count() const { return count_; }

  // The lane's contiguous share of [0, total) in whole `grain`s; shares differ by at most one
  // grain. From here on barriers wait for every lane.
  WorkRange share(int64_t total, int64_t grain = 1) {
    wait_for_lanes();
    return share_of(index_, total, grain);
  }

  // Calls `work` for pieces that together are [0, total), each once, on one lane or another. A
  // piece begins at a multiple of `grain`. A lane claims its own share in order, half of what is
  // left at a time, so that its pieces are one linear stream; then, from the back, half of what
  // another has left. grain: at least 1. `work` calls nothing of its lane but count(). Does not
  // wait for pieces that other lanes claimed.
  void for_each_piece(int64_t total, int64_t grain, absl::FunctionRef<void(WorkRange)> work);

  // Calls `work` for each lane's share of [0, total), each once, on one lane or another: for work
  // that keeps memory for each share, as many as there are lanes. owner: in [0, count()).
  void for_each_share(int64_t total, int64_t grain,
                      absl::FunctionRef<void(int owner, WorkRange share)> work);

  // When it returns, every piece of the calls before it is done and what it wrote is visible; the
  // same of all that lanes did before it, if barriers wait for lanes.
  void barrier();

 private:
  friend class LanePool;
  Lane(LanePool& pool, int index, int count, uint32_t call)
      : pool_(pool), index_(index), count_(count), call_(call), done_(call) {}

  WorkRange share_of(int64_t owner, int64_t total, int64_t grain) const;
  void wait_for_lanes();
  void begin_call(int64_t units);
  void arrive();

  static constexpr uint32_t kCalls = 8;

  LanePool& pool_;
  int index_;
  int count_;
  bool waits_for_lanes_ = false;
  bool in_piece_ = false;
  uint32_t call_;                            // the number of the last call
  uint32_t done_;                            // this call and all before are known to be done
  std::array<uint32_t, kCalls> units_ = {};  // of the calls after done_, by number
};

// A fixed set of threads. The caller is lane 0; the others spin for a moment between jobs and then
// sleep, so that an idle process uses no CPU. `run` is called from one thread at a time.
class LanePool {
 public:
  explicit LanePool(int lanes);  // at least 1
  ~LanePool();
  LanePool(const LanePool&) = delete;
  LanePool& operator=(const LanePool&) = delete;

  int lanes() const { return lanes_; }

  // Runs `job` on every lane, at most once on each: a lane that does not come before all is done
  // is not waited for, unless the job makes barriers wait for lanes (see Lane). Returns when all is
  // done and no lane is inside.
  void run(absl::FunctionRef<void(Lane&)> job);

 private:
  friend class Lane;
  using Job = absl::FunctionRef<void(Lane&)>;

  // A word on a cache line of its own.
  struct alignas(64) Word {
    std::atomic<uint64_t> value = 0;
  };

  void work(int index);
  bool enter(uint32_t& seen);
  void leave();

  // Work in units, numbered from 0 within a call.
  WorkRange claim(uint32_t call, int owner, WorkRange share, bool from_front);
  void add_done(uint32_t call, int64_t units, int64_t total);
  bool is_done(uint32_t call, int64_t total) const;

  template <typename Ready>
  void wait_until(int spins, Ready ready);
  void wake_sleepers();

  const int lanes_;
  std::vector<std::thread> threads_;
  const Job* job_ = nullptr;
  uint32_t call_ = 0;  // of all jobs before
  // A ring of calls. Each word begins with the number of the call that it is about, so that
  // the first to come to a call finds it fresh and nothing needs resetting.
  std::vector<Word> left_;               // [kCalls, lanes]: {call 32, begin 16, end 16}
  std::array<Word, Lane::kCalls> done_;  // {call 32, units done 32}
  Word gate_;                            // {job 32, open 1, lanes inside 31}
  alignas(64) std::atomic<bool> stop_ = false;
  alignas(64) std::atomic<uint32_t> sleepers_ = 0;
  alignas(64) std::atomic<uint32_t> wakes_ = 0;
};

}  // namespace millrace
