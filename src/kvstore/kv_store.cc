#include "kvstore/kv_store.h"

#include <cstring>
#include <utility>

#include "base/check.h"

namespace millrace {
namespace {

constexpr int64_t kLayerAlignment = 64;  // a cache line

int64_t layer_token_bytes(DType dtype, const KvLayerShape& layer) {
  return 2 * row_bytes(dtype, int64_t{layer.heads} * layer.head_dim);
}

// Bytes of one layer's piece of a group. False when they do not fit in 63 bits.
bool layer_bytes(DType dtype, const KvLayerShape& layer, const KvGroup& group, int64_t& bytes) {
  int64_t padded;
  if (__builtin_mul_overflow(layer_token_bytes(dtype, layer) * group.block_tokens, group.units,
                             &bytes) ||
      __builtin_add_overflow(bytes, kLayerAlignment - 1, &padded)) {
    return false;
  }
  bytes = padded / kLayerAlignment * kLayerAlignment;
  return true;
}

KvLayer place_layer(DType dtype, const KvLayerShape& shape, const KvGroup& group,
                    std::byte* start) {
  const int64_t head_bytes = row_bytes(dtype, int64_t{shape.head_dim} * group.block_tokens);
  return {.dtype = dtype,
          .keys = start,
          .values = start + head_bytes,
          .block_stride = 2 * head_bytes * shape.heads,
          .head_stride = 2 * head_bytes,
          .blocks = group.units,
          .block_tokens = group.block_tokens,
          .heads = shape.heads,
          .head_dim = shape.head_dim};
}

}  // namespace

int64_t kv_token_bytes(DType dtype, std::span<const KvLayerShape> layers, int32_t group) {
  int64_t bytes = 0;
  for (const KvLayerShape& layer : layers) {
    if (layer.group == group) bytes += layer_token_bytes(dtype, layer);
  }
  return bytes;
}

absl::StatusOr<KvStore> KvStore::create(DType dtype, std::span<const KvLayerShape> layers,
                                        std::span<const KvGroup> groups) {
  CHECK(dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kF32);
  std::vector<int64_t> group_bytes(groups.size());
  std::vector<int64_t> offsets;
  KvStore store;
  for (const KvLayerShape& layer : layers) {
    const KvGroup& group = groups[static_cast<size_t>(layer.group)];
    CHECK(group.block_tokens > 0);
    int64_t& total = group_bytes[static_cast<size_t>(layer.group)];
    offsets.push_back(total);
    int64_t bytes;
    if (!layer_bytes(dtype, layer, group, bytes) || __builtin_add_overflow(total, bytes, &total)) {
      return resource_exhausted("a cache of {} blocks of {} tokens is larger than any memory",
                                group.units, group.block_tokens);
    }
    store.layer_groups_.push_back(layer.group);
  }
  for (const int64_t bytes : group_bytes) {
    ASSIGN_OR_RETURN(Buffer buffer, Buffer::allocate(bytes));
    store.buffers_.push_back(std::move(buffer));
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto group = static_cast<size_t>(layers[i].group);
    store.layers_.push_back(
        place_layer(dtype, layers[i], groups[group], store.buffers_[group].data() + offsets[i]));
  }
  return store;
}

int64_t KvStore::bytes() const {
  int64_t bytes = 0;
  for (const Buffer& buffer : buffers_) bytes += buffer.size();
  return bytes;
}

void KvStore::copy(Lane& lane, std::span<const BlockCopy> copies) const {
  lane.for_each_piece(layers(), 1, [&](WorkRange piece) {
    for (const BlockCopy& copy : copies) {
      for (int64_t i = piece.begin; i < piece.end; ++i) {
        if (layer_groups_[static_cast<size_t>(i)] != copy.group) continue;
        const KvLayer& layer = this->layer(i);
        std::memcpy(layer.keys + copy.to.value * layer.block_stride,
                    layer.keys + copy.from.value * layer.block_stride,
                    static_cast<size_t>(layer.block_stride));
      }
    }
  });
}

}  // namespace millrace
