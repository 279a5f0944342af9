#pragma once

#include <cstdint>

#include <absl/time/time.h>

namespace millrace {

// How fast sequences leave the batch: sums over the time that the engine was busy, each fading with
// a time constant of half a minute, so idle hours and the distant past do not count.
class ServiceRate {
 public:
  void add(absl::Duration busy, int64_t departed);
  // Busy time for each sequence that left; while none has, all of it.
  absl::Duration per_sequence() const;

 private:
  double busy_s_ = 0;
  double departed_ = 0;
};

}  // namespace millrace
