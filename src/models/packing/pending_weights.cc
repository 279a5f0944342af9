#include "models/packing/pending_weights.h"

#include <algorithm>
#include <sys/resource.h>
#include <utility>

#include "base/system/signals_blocked.h"

namespace millrace {
namespace {

// Large enough for a disk, and a few huge pages, so that threads which share the work do not share
// pages.
constexpr int64_t kReadAtOnce = int64_t{4} << 20;
constexpr int kPriority = 19;  // the last

}  // namespace

PendingWeights::PendingWeights(PackFile pack, std::span<std::byte> memory, FreshPages& pages,
                               int threads, Rebuild rebuild)
    : pack_(std::move(pack)),
      memory_(memory),
      pages_(pages),
      rebuild_(std::move(rebuild)),
      thread_count_(threads) {}

void PendingWeights::begin() {
  const SignalsBlocked blocked;
  for (int i = 0; i < thread_count_; ++i) {
    threads_.emplace_back([this] {
      // The rest of the start goes first: it is what a client waits for.
      ::setpriority(PRIO_PROCESS, 0, kPriority);
      read_pieces();
    });
  }
}

PendingWeights::~PendingWeights() {
  stop_ = true;
  end_threads();
}

void PendingWeights::read_pieces() {
  while (!stop_) {
    const int64_t begin = next_piece_++ * kReadAtOnce;
    if (begin >= pack_.bytes()) return;
    const int64_t bytes = std::min(kReadAtOnce, pack_.bytes() - begin);
    pages_.provide(begin, begin + bytes);
    const absl::Status read =
        pack_.read(begin, memory_.subspan(static_cast<size_t>(begin), static_cast<size_t>(bytes)));
    if (read.ok()) {
      if ((bytes_read_ += bytes) == pack_.bytes()) pages_.start_moving();
      continue;
    }
    const std::lock_guard lock(failing_);
    failure_.Update(read);
    stop_ = true;
  }
}

void PendingWeights::end_threads() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

absl::Status PendingWeights::await(LanePool& lanes) {
  if (are_there()) return absl::OkStatus();
  const std::lock_guard lock(awaiting_);
  if (are_there() || !result_.ok()) return result_;
  lanes.run([this](Lane&) { read_pieces(); });
  end_threads();
  if (!failure_.ok()) result_ = rebuild_(failure_, lanes);
  rebuild_ = nullptr;
  are_there_.store(result_.ok(), std::memory_order_release);
  return result_;
}

}  // namespace millrace
