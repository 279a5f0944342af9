#pragma once

#include <span>

#include "base/status.h"
#include "files/pack_file.h"
#include "models/packing/stream_plan.h"

namespace millrace {

// A pack that is written while its matrices are packed, of which only that stays in memory what a
// stream plan lets stay.
class PackedStream {
 public:
  // All but the writer outlive this object.
  PackedStream(PackWriter writer, std::span<std::byte> memory, const StreamPlan& plan)
      : writer_(std::move(writer)), memory_(memory), plan_(plan) {}

  // So many bytes of the memory, from its first on, are final.
  absl::Status add_up_to(int64_t bytes);
  absl::Status finish();

 private:
  PackWriter writer_;
  std::span<std::byte> memory_;
  const StreamPlan& plan_;
  int64_t next_segment_ = 0;  // to be let go
};

}  // namespace millrace
