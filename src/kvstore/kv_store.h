#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "base/system/lanes.h"
#include "core/batch.h"
#include "core/kv_spec.h"
#include "tensor/buffer.h"
#include "tensor/kv_layer.h"

namespace millrace {

// One attention layer's part in the cache.
struct KvLayerShape {
  int32_t group = 0;  // whose block table it follows: index into Capacity::groups
  int32_t heads = 0;
  int32_t head_dim = 0;
};

// Bytes that one token takes in all layers of a group.
int64_t kv_token_bytes(DType dtype, std::span<const KvLayerShape> layers, int32_t group);

// The bytes behind block ids. Each group is one buffer, in it each layer one contiguous piece
// [blocks, heads, keys and values]; pages are touched only as blocks are used.
class KvStore {
 public:
  KvStore() = default;
  // dtype: F16, BF16 or F32. RESOURCE_EXHAUSTED when the system refuses the memory.
  static absl::StatusOr<KvStore> create(DType dtype, std::span<const KvLayerShape> layers,
                                        std::span<const KvGroup> groups);

  const KvLayer& layer(int64_t i) const { return layers_[static_cast<size_t>(i)]; }
  int64_t layers() const { return static_cast<int64_t>(layers_.size()); }
  int64_t bytes() const;

  // Performs the copies in their order, this lane's share of each; the caller puts a barrier
  // behind. Whole blocks move: what lies behind a copy's first `tokens` tokens is stale on both
  // sides.
  void copy(Lane& lane, std::span<const BlockCopy> copies) const;

 private:
  std::vector<Buffer> buffers_;        // [groups]
  std::vector<KvLayer> layers_;        // [layers]
  std::vector<int32_t> layer_groups_;  // [layers]
};

}  // namespace millrace
