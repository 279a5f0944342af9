#pragma once

#include <sys/types.h>
#include <vector>

#include "base/status.h"

namespace millrace {

// A foreign process on each CPU that this one may use, busy for as long as this object lives.
class BusyCpus {
 public:
  // RESOURCE_EXHAUSTED when the system allows no more processes.
  static absl::StatusOr<BusyCpus> start();

  BusyCpus(BusyCpus&& other) noexcept = default;
  BusyCpus& operator=(BusyCpus&&) = delete;
  ~BusyCpus();

 private:
  BusyCpus() = default;

  std::vector<pid_t> processes_;
};

}  // namespace millrace
