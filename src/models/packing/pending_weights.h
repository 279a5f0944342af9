#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "base/status.h"
#include "base/system/lanes.h"
#include "files/pack_file.h"
#include "tensor/fresh_pages.h"

namespace millrace {

// Packed weights on their way from a pack file into memory, on threads of their own, while the rest
// of the program starts: every byte is checked before anything reads it. Safe for any thread.
class PendingWeights {
 public:
  // Puts the weights into the same memory without the pack, and says that it does; `why` is what is
  // wrong with that.
  using Rebuild = std::function<absl::Status(const absl::Status& why, LanePool& lanes)>;

  // `memory` and its pages outlive this object. threads: at least 1.
  PendingWeights(PackFile pack, std::span<std::byte> memory, FreshPages& pages, int threads,
                 Rebuild rebuild);
  ~PendingWeights();  // stops where it is
  PendingWeights(const PendingWeights&) = delete;
  PendingWeights& operator=(const PendingWeights&) = delete;

  // Starts the threads. At most once, and before await(), which does without where it was not
  // called.
  void begin();
  // Returns when the memory holds all of the weights; the lanes, which are idle, help. An error is
  // that of the rebuild, and stays.
  absl::Status await(LanePool& lanes);
  bool are_there() const { return are_there_.load(std::memory_order_acquire); }

 private:
  void read_pieces();
  void end_threads();

  const PackFile pack_;
  const std::span<std::byte> memory_;
  FreshPages& pages_;
  std::atomic<int64_t> next_piece_ = 0;
  std::atomic<int64_t> bytes_read_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> are_there_ = false;
  std::mutex awaiting_;
  absl::Status result_;  // under `awaiting_`; of the rebuild
  std::mutex failing_;
  absl::Status failure_;  // under `failing_`; the first
  Rebuild rebuild_;
  const int thread_count_;
  std::vector<std::thread> threads_;
};

}  // namespace millrace
