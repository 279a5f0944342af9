#pragma once

#include <memory>
#include <sys/types.h>
#include <vector>

#include "base/status.h"

namespace millrace {

// A foreign process on each CPU that this process may use, which uses all it gets of it. They are
// at rest until resume(), and end with this object or with the thread that started them. Started
// before much memory is in use, they cost none.
class BusyCpus {
 public:
  static absl::StatusOr<std::unique_ptr<BusyCpus>> start();
  ~BusyCpus();
  BusyCpus(const BusyCpus&) = delete;
  BusyCpus& operator=(const BusyCpus&) = delete;

  int count() const { return static_cast<int>(children_.size()); }
  void resume() const;
  void rest() const;

 private:
  BusyCpus() = default;
  void signal(int number) const;

  std::vector<pid_t> children_;
};

}  // namespace millrace
