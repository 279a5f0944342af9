#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "base/system/lanes.h"
#include "core/batch.h"
#include "core/kv_spec.h"
#include "tensor/buffer.h"

namespace millrace {

// What one body keeps in each unit of a group: of a block's tokens, or of a sequence.
struct KvPart {
  int32_t group = 0;  // index into Capacity::groups
  int64_t unit_bytes = 0;
};

// One part's bytes: those of unit u begin at data + u * stride.
struct KvBytes {
  std::byte* data = nullptr;
  int64_t stride = 0;
  int64_t units = 0;
};

// The bytes behind the units of groups. Each group is one buffer, in it each part one contiguous
// piece, aligned to a cache line; pages are touched only as units are used.
class KvStore {
 public:
  KvStore() = default;
  // RESOURCE_EXHAUSTED when the system refuses the memory.
  static absl::StatusOr<KvStore> create(std::span<const KvPart> parts,
                                        std::span<const KvGroup> groups);

  const KvBytes& part(int64_t i) const { return parts_[static_cast<size_t>(i)]; }
  int64_t parts() const { return static_cast<int64_t>(parts_.size()); }
  int64_t bytes() const;

  // Performs the copies in their order, this lane's share of each; the caller puts a barrier
  // behind. Whole units move: what lies behind a copy's first `tokens` tokens is stale on both
  // sides.
  void copy(Lane& lane, std::span<const BlockCopy> copies) const;

 private:
  std::vector<Buffer> buffers_;       // [groups]
  std::vector<KvBytes> parts_;        // [parts]
  std::vector<int32_t> part_groups_;  // [parts]
};

}  // namespace millrace
