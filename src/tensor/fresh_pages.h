#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <thread>
#include <vector>

#include "tensor/huge_pages.h"

namespace millrace {

// Pages for a buffer that is filled for the first time. They are huge ones as long as the system
// has them at hand. In a virtual machine whose host takes free memory back one may cost more than
// ten milliseconds, while small ones are there: then the rest comes on these, and moves into huge
// ones later, beside the program. Safe for any thread.
class FreshPages {
 public:
  // The calling thread's time on a CPU, in nanoseconds.
  using Clock = std::function<int64_t()>;

  // memory: whole buffers, touched by nobody so far; outlives this object.
  explicit FreshPages(std::span<std::byte> memory, Clock clock = cpu_time);
  ~FreshPages();  // stops moving
  FreshPages(const FreshPages&) = delete;
  FreshPages& operator=(const FreshPages&) = delete;

  // Has pages under bytes [begin, end) before they are written; what is there stays as it is.
  void provide(int64_t begin, int64_t end);
  // Starts to move what lies on small pages, if anything does. Once, after all is provided.
  void start_moving();
  // Whether some of it lay on small pages when all had been provided.
  bool moves() const { return has_small_; }
  // Moves without rests, and returns when nothing is left to be moved.
  void await_moved();

 private:
  enum class Pages : uint8_t {
    kHuge,
    kSmall,  // huge ones are slow
    kAny     // so are small ones, so that huge ones cost no more
  };

  static int64_t cpu_time();
  std::span<std::byte> page(size_t i) const;
  void choose(Pages pages);
  void move_pages() const;

  const std::span<std::byte> memory_;
  const Clock clock_;
  std::vector<std::atomic<bool>> provided_;  // [huge pages]
  std::atomic<Pages> pages_;
  std::atomic<bool> has_small_ = false;
  std::atomic<int> slow_small_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> rests_ = true;
  std::thread thread_;
};

}  // namespace millrace
