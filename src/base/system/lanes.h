#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
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

// One thread's part in a single-program multiple-data job: every lane runs the same code, does its
// share, and meets the others at barriers. Every lane must pass the same barriers in the same
// order.
class Lane {
 public:
  int index() const { return index_; }
  int count() const { return count_; }

  // The lane's contiguous share of [0, total) in whole `grain`s; shares differ by at most one
  // grain.
  WorkRange share(int64_t total, int64_t grain = 1) const;

  // Everything every lane wrote before is visible to every lane after.
  void barrier();

 private:
  friend class LanePool;
  Lane(LanePool& pool, int index, int count) : pool_(pool), index_(index), count_(count) {}

  LanePool& pool_;
  int index_;
  int count_;
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

  // Runs `job` once on every lane and returns when all are done.
  void run(absl::FunctionRef<void(Lane&)> job);

 private:
  friend class Lane;
  using Job = absl::FunctionRef<void(Lane&)>;

  void work(int index);
  uint32_t wait_for_job(uint32_t seen);
  void barrier();

  const int lanes_;
  std::vector<std::thread> threads_;
  const Job* job_ = nullptr;
  bool stop_ = false;
  alignas(64) std::atomic<uint32_t> generation_ = 0;  // a new job
  alignas(64) std::atomic<int> sleepers_ = 0;
  alignas(64) std::atomic<int> arrived_ = 0;     // barrier: lanes that came
  alignas(64) std::atomic<uint32_t> phase_ = 0;  // barrier: how often it opened
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace millrace
