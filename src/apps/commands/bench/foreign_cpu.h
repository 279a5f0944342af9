#pragma once

#include <optional>
#include <string_view>

#include "base/clock.h"

namespace millrace {

// Seconds that all CPUs of the machine were busy or taken away by its host, from the text of
// /proc/stat, whose unit is a tick. Empty: the text is something else.
std::optional<double> busy_seconds_of(std::string_view proc_stat, double ticks_per_second);

// How many CPUs other processes used, on average, while this one measured.
class ForeignCpu {
 public:
  ForeignCpu();
  // Since construction. Empty where the system does not tell.
  std::optional<double> cpus() const;

 private:
  struct Reading {
    std::optional<double> all;
    double own = 0;
    Instant at;
  };
  static Reading read();

  Reading first_;
};

}  // namespace millrace
