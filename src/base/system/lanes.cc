#include "base/system/lanes.h"

#include <algorithm>

#include "base/check.h"
#include "base/system/signals_blocked.h"

namespace millrace {
namespace {

// A job follows the last one within microseconds while the engine steps; about 50 µs of spinning
// bridges that.
constexpr int kSpinsBeforeSleep = 2000;
// At a barrier a lane that waits longer than this yields, so that more lanes than CPUs still make
// progress.
constexpr int kSpinsBeforeYield = 1000;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

WorkRange Lane::share(int64_t total, int64_t grain) const {
  const int64_t grains = (total + grain - 1) / grain;
  const int64_t begin = grains * index_ / count_ * grain;
  const int64_t end = grains * (index_ + 1) / count_ * grain;
  return {std::min(begin, total), std::min(end, total)};
}

void Lane::barrier() {
  if (count_ > 1) pool_.barrier();
}

LanePool::LanePool(int lanes) : lanes_(lanes) {
  CHECK(lanes >= 1, "a pool of {} lanes", lanes);
  const SignalsBlocked blocked;
  for (int i = 1; i < lanes; ++i) threads_.emplace_back([this, i] { work(i); });
}

LanePool::~LanePool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    generation_.fetch_add(1);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void LanePool::run(absl::FunctionRef<void(Lane&)> job) {
  Lane caller(*this, 0, lanes_);
  if (lanes_ == 1) return job(caller);
  job_ = &job;
  generation_.fetch_add(1);
  if (sleepers_.load() > 0) {
    {
      const std::lock_guard lock(mutex_);
    }  // a lane about to sleep has not yet tested, or already waits
    wake_.notify_all();
  }
  job(caller);
  barrier();  // the job and what it captured live until every lane has left it
}

void LanePool::work(int index) {
  uint32_t seen = 0;
  while (true) {
    seen = wait_for_job(seen);
    if (stop_) return;
    Lane lane(*this, index, lanes_);
    (*job_)(lane);
    barrier();
  }
}

uint32_t LanePool::wait_for_job(uint32_t seen) {
  for (int spin = 0; spin < kSpinsBeforeSleep; ++spin) {
    if (const uint32_t now = generation_.load(); now != seen) return now;
    relax();
  }
  std::unique_lock lock(mutex_);
  sleepers_.fetch_add(1);
  wake_.wait(lock, [&] { return generation_.load() != seen; });
  sleepers_.fetch_sub(1);
  return generation_.load();
}

void LanePool::barrier() {
  const uint32_t phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == lanes_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    return;
  }
  for (int spin = 0; phase_.load(std::memory_order_acquire) == phase; ++spin) {
    if (spin < kSpinsBeforeYield) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace millrace
