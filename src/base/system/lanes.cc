#include "base/system/lanes.h"

#include <algorithm>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/system/signals_blocked.h"

namespace millrace {
namespace {

// A job follows the last one within microseconds while the engine steps; about 50 µs of spinning
// bridges that.
constexpr int kSpinsBetweenJobs = 2000;
// Where all lanes have a CPU, a barrier opens within another lane's last piece, a few µs. After 20
// to 40 µs of spinning the lane that is waited for has most likely lost its CPU, and it will be
// milliseconds before it is back: then the CPU is better left to whoever wants it.
constexpr int kSpinsAtBarrier = 1000;

// What a claim's 16 bits hold.
constexpr int64_t kUnitsMax = 0xffff;

constexpr uint64_t kOpen = uint64_t{1} << 31;
constexpr uint64_t kInside = kOpen - 1;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

uint32_t call_of(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
bool is_before(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }

uint64_t pack(uint32_t call, uint64_t low) { return uint64_t{call} << 32 | low; }
uint64_t pack(uint32_t call, WorkRange left) {
  return pack(call, static_cast<uint64_t>(left.begin << 16 | left.end));
}
WorkRange left_of(uint64_t word) {
  return {static_cast<int64_t>(word >> 16 & kUnitsMax), static_cast<int64_t>(word & kUnitsMax)};
}

void futex(std::atomic<uint32_t>& word, int operation, uint32_t value) {
  static_assert(sizeof(word) == sizeof(uint32_t));
  ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), operation | FUTEX_PRIVATE_FLAG, value,
            nullptr, nullptr, 0);
}

}  // namespace

WorkRange Lane::share_of(int64_t owner, int64_t total, int64_t grain) const {
  const int64_t grains = (total + grain - 1) / grain;
  const int64_t begin = grains * owner / count_ * grain;
  const int64_t end = grains * (owner + 1) / count_ * grain;
  return {std::min(begin, total), std::min(end, total)};
}

// Only some lanes would come to a call within a piece.
void Lane::wait_for_lanes() {
  CHECK(!in_piece_, "a lane's index or share is asked for within a piece");
  waits_for_lanes_ = true;
}

// A call takes the place of the one kCalls before it, which must be done.
void Lane::begin_call(int64_t units) {
  ++call_;
  if (call_ - done_ > kCalls) {
    const uint32_t old = ++done_;
    pool_.wait_until(kSpinsAtBarrier, [&] { return pool_.is_done(old, units_[old % kCalls]); });
  }
  units_[call_ % kCalls] = static_cast<uint32_t>(units);
}

void Lane::for_each_piece(int64_t total, int64_t grain, absl::FunctionRef<void(WorkRange)> work) {
  CHECK(grain >= 1, "pieces of {}", grain);
  CHECK(!in_piece_, "pieces within a piece");
  if (total <= 0) return;
  const auto run = [&](WorkRange piece) {
    in_piece_ = true;
    work(piece);
    in_piece_ = false;
  };
  if (count_ == 1) return run({0, total});
  const int64_t grains = (total + grain - 1) / grain;
  const int64_t unit = (grains + kUnitsMax - 1) / kUnitsMax * grain;
  const int64_t units = (total + unit - 1) / unit;
  begin_call(units);
  int64_t done = 0;
  for (int i = 0; i < count_; ++i) {
    const int owner = (index_ + i) % count_;
    const WorkRange share = share_of(owner, units, 1);
    while (true) {
      const WorkRange piece = pool_.claim(call_, owner, share, owner == index_);
      if (piece.size() == 0) break;
      run({piece.begin * unit, std::min(piece.end * unit, total)});
      done += piece.size();
    }
  }
  if (done > 0) pool_.add_done(call_, done, units);
}

void Lane::for_each_share(int64_t total, int64_t grain,
                          absl::FunctionRef<void(int owner, WorkRange share)> work) {
  for_each_piece(count_, 1, [&](WorkRange owners) {
    for (int64_t owner = owners.begin; owner < owners.end; ++owner) {
      work(static_cast<int>(owner), share_of(owner, total, grain));
    }
  });
}

void Lane::arrive() {
  if (!waits_for_lanes_ || count_ == 1) return;
  begin_call(count_);
  pool_.add_done(call_, 1, count_);
}

void Lane::barrier() {
  CHECK(!in_piece_, "a barrier within a piece");
  arrive();
  while (done_ != call_) {
    const uint32_t call = ++done_;
    pool_.wait_until(kSpinsAtBarrier, [&] { return pool_.is_done(call, units_[call % kCalls]); });
  }
}

LanePool::LanePool(int lanes) : lanes_(lanes), left_(static_cast<size_t>(lanes) * Lane::kCalls) {
  CHECK(lanes >= 1 && lanes <= kUnitsMax, "a pool of {} lanes", lanes);
  const SignalsBlocked blocked;
  for (int i = 1; i < lanes; ++i) threads_.emplace_back([this, i] { work(i); });
}

LanePool::~LanePool() {
  stop_ = true;
  wake_sleepers();
  for (std::thread& thread : threads_) thread.join();
}

void LanePool::run(absl::FunctionRef<void(Lane&)> job) {
  Lane caller(*this, 0, lanes_, call_);
  if (lanes_ == 1) return job(caller);
  job_ = &job;
  gate_.value = pack(call_of(gate_.value) + 1, kOpen);
  wake_sleepers();
  job(caller);
  caller.barrier();
  gate_.value.fetch_and(~kOpen);
  wait_until(kSpinsAtBarrier, [&] { return (gate_.value & kInside) == 0; });
  call_ = caller.call_;
}

void LanePool::work(int index) {
  uint32_t seen = 0;
  while (enter(seen)) {
    Lane lane(*this, index, lanes_, call_);
    (*job_)(lane);
    lane.arrive();
    leave();
  }
}

// Waits for a job that is not `seen`; false: there will be none.
bool LanePool::enter(uint32_t& seen) {
  while (true) {
    uint64_t gate = 0;
    wait_until(kSpinsBetweenJobs, [&] {
      gate = gate_.value;
      return stop_ || ((gate & kOpen) != 0 && call_of(gate) != seen);
    });
    if (stop_) return false;
    if (!gate_.value.compare_exchange_strong(gate, gate + 1)) continue;
    seen = call_of(gate);
    return true;
  }
}

void LanePool::leave() {
  const uint64_t gate = gate_.value.fetch_sub(1) - 1;
  if ((gate & (kOpen | kInside)) == 0) wake_sleepers();
}

WorkRange LanePool::claim(uint32_t call, int owner, WorkRange share, bool from_front) {
  std::atomic<uint64_t>& word =
      left_[static_cast<size_t>(call % Lane::kCalls) * static_cast<size_t>(lanes_) +
            static_cast<size_t>(owner)]
          .value;
  uint64_t seen = word;
  while (true) {
    if (is_before(call, call_of(seen))) return {};  // done without this lane
    const WorkRange left = call_of(seen) == call ? left_of(seen) : share;
    if (left.size() == 0 && call_of(seen) == call) return {};
    const int64_t size = (left.size() + 1) / 2;
    const WorkRange piece = from_front ? WorkRange{left.begin, left.begin + size}
                                       : WorkRange{left.end - size, left.end};
    const WorkRange rest =
        from_front ? WorkRange{piece.end, left.end} : WorkRange{left.begin, piece.begin};
    if (word.compare_exchange_weak(seen, pack(call, rest))) return piece;
  }
}

void LanePool::add_done(uint32_t call, int64_t units, int64_t total) {
  std::atomic<uint64_t>& word = done_[call % Lane::kCalls].value;
  uint64_t seen = word;
  uint64_t count = 0;
  do {
    count = (call_of(seen) == call ? seen & 0xffffffff : 0) + static_cast<uint64_t>(units);
  } while (!word.compare_exchange_weak(seen, pack(call, count)));
  if (count == static_cast<uint64_t>(total)) wake_sleepers();
}

bool LanePool::is_done(uint32_t call, int64_t total) const {
  const uint64_t word = done_[call % Lane::kCalls].value;
  return word == pack(call, static_cast<uint64_t>(total)) || is_before(call, call_of(word));
}

// A sleeper counts itself before it looks again, and who makes something ready looks for sleepers
// afterwards: in the one order of these operations either the sleeper sees it or it is woken.
template <typename Ready>
void LanePool::wait_until(int spins, Ready ready) {
  for (int spin = 0; spin < spins; ++spin) {
    if (ready()) return;
    relax();
  }
  sleepers_.fetch_add(1);
  while (true) {
    const uint32_t wakes = wakes_;
    if (ready()) break;
    futex(wakes_, FUTEX_WAIT, wakes);
  }
  sleepers_.fetch_sub(1);
}

void LanePool::wake_sleepers() {
  if (sleepers_.load() == 0) return;
  wakes_.fetch_add(1);
  futex(wakes_, FUTEX_WAKE, INT32_MAX);
}

}  // namespace millrace
