#include "tensor/fresh_pages.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <sys/mman.h>
#include <utility>

#include "base/system/signals_blocked.h"

namespace millrace {
namespace {

// Of Linux 5.14 and 6.1; systems that do not know them refuse them.
constexpr int kPopulateWrite = 23;
constexpr int kCollapse = 25;

// Clearing a huge page takes some 0.2 ms, filling its place with small ones 0.7.
constexpr int64_t kSlowNs = 3'000'000;
constexpr int kSlowSmallMax = 8;  // a few may be slow by chance
// The share of a CPU that moving takes is one part of so many.
constexpr int kMovingShare = 5;

bool advise(std::span<std::byte> memory, int advice) {
  return ::madvise(memory.data(), memory.size(), advice) == 0;
}

}  // namespace

FreshPages::FreshPages(std::span<std::byte> memory, Clock clock)
    : memory_(memory),
      clock_(std::move(clock)),
      provided_((memory.size() + kHugePageBytes - 1) / kHugePageBytes),
      pages_(may_have_huge_pages() ? Pages::kHuge : Pages::kAny) {}

FreshPages::~FreshPages() {
  stop_ = true;
  await_moved();
}

int64_t FreshPages::cpu_time() {
  timespec time = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::span<std::byte> FreshPages::page(size_t i) const {
  constexpr auto kBytes = static_cast<size_t>(kHugePageBytes);
  return memory_.subspan(i * kBytes, std::min(kBytes, memory_.size() - i * kBytes));
}

void FreshPages::choose(Pages pages) {
  Pages expected = pages == Pages::kSmall ? Pages::kHuge : Pages::kSmall;
  if (!pages_.compare_exchange_strong(expected, pages)) return;
  if (pages == Pages::kSmall) has_small_ = true;
  advise(memory_, pages == Pages::kSmall ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
}

void FreshPages::provide(int64_t begin, int64_t end) {
  if (begin == end) return;
  const auto last = static_cast<size_t>((end - 1) / kHugePageBytes);
  for (auto i = static_cast<size_t>(begin / kHugePageBytes); i <= last; ++i) {
    if (provided_[i].exchange(true)) continue;
    const Pages pages = pages_;
    const int64_t start = clock_();
    if (!advise(page(i), kPopulateWrite) || clock_() - start < kSlowNs) continue;
    if (pages == Pages::kHuge) choose(Pages::kSmall);
    if (pages == Pages::kSmall && ++slow_small_ > kSlowSmallMax) choose(Pages::kAny);
  }
}

void FreshPages::start_moving() {
  if (!moves()) return;
  advise(memory_, MADV_HUGEPAGE);  // what cannot be moved now, the system may move
  const SignalsBlocked blocked;
  thread_ = std::thread([this] { move_pages(); });
}

// A step that reads a page while it moves waits for it, so this thread has the priority of others,
// lest it is interrupted in the middle, and sleeps most of the time instead.
void FreshPages::move_pages() const {
  for (size_t i = 0; i < provided_.size() && !stop_; ++i) {
    const int64_t start = clock_();
    if (!advise(page(i), kCollapse)) continue;
    const int64_t sleep = rests_ ? (kMovingShare - 1) * (clock_() - start) : 0;
    std::this_thread::sleep_for(std::chrono::nanoseconds(sleep));
  }
}

void FreshPages::await_moved() {
  rests_ = false;
  if (thread_.joinable()) thread_.join();
}

}  // namespace millrace
