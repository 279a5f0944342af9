#pragma once

#include <atomic>
#include <span>
#include <thread>

#include "files/pack_file.h"

namespace millrace {

// Keeps packed weights that are in memory for the next start, on a thread of its own while the
// model is used.
class PackSaver {
 public:
  PackSaver() = default;
  ~PackSaver();  // stops: a pack that is not whole leaves nothing
  PackSaver(const PackSaver&) = delete;
  PackSaver& operator=(const PackSaver&) = delete;

  // Once. `packed` stays as it is and outlives this object. What fails is a warning in the log.
  void start(PackWriter writer, std::span<const std::byte> packed);
  // Returns when there is nothing left to write.
  void await();

 private:
  absl::Status write(PackWriter& writer, std::span<const std::byte> packed) const;

  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// The one line that tells of a pack that could not be written.
void warn_of_lost_pack(const absl::Status& why);

}  // namespace millrace
