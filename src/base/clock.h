#pragma once

#include <absl/time/clock.h>
#include <absl/time/time.h>

namespace millrace {

// Where time comes from, so that tests and simulations can turn it by hand.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time now() const = 0;
};

class RealClock final : public Clock {
 public:
  absl::Time now() const override { return absl::Now(); }
};

// Stands still until told. Not thread safe.
class ManualClock final : public Clock {
 public:
  absl::Time now() const override { return now_; }
  void advance(absl::Duration by) { now_ += by; }

 private:
  absl::Time now_ = absl::UnixEpoch();
};

}  // namespace millrace
