#pragma once

#include <chrono>
#include <compare>

#include <absl/time/time.h>

namespace millrace {

// A moment of a clock that cannot be set. It is no date: those are absl::Time, may jump, and are
// only for people and clients to read.
class Instant {
 public:
  constexpr Instant() = default;  // the clock's origin
  static Instant infinite_past() { return Instant() - absl::InfiniteDuration(); }
  static Instant infinite_future() { return Instant() + absl::InfiniteDuration(); }

  Instant& operator+=(absl::Duration by) {
    since_origin_ += by;
    return *this;
  }
  friend Instant operator+(Instant instant, absl::Duration by) { return instant += by; }
  friend Instant operator-(Instant instant, absl::Duration by) { return instant += -by; }
  friend absl::Duration operator-(Instant a, Instant b) {
    return a.since_origin_ - b.since_origin_;
  }
  friend constexpr bool operator==(Instant a, Instant b) = default;
  friend constexpr std::strong_ordering operator<=>(Instant a, Instant b) {
    if (a == b) return std::strong_ordering::equal;
    return a.since_origin_ < b.since_origin_ ? std::strong_ordering::less
                                             : std::strong_ordering::greater;
  }

 private:
  absl::Duration since_origin_ = absl::ZeroDuration();
};

// Where time comes from, so that tests and simulations can turn it by hand.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant now() const = 0;
};

class RealClock final : public Clock {
 public:
  Instant now() const override {
    return Instant() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
  }
};

// Stands still until told. Not thread safe.
class ManualClock final : public Clock {
 public:
  Instant now() const override { return now_; }
  void advance(absl::Duration by) { now_ += by; }

 private:
  Instant now_;
};

}  // namespace millrace
