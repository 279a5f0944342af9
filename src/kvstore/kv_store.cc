#include "kvstore/kv_store.h"

#include <cstring>
#include <utility>

#include "base/check.h"

namespace millrace {
namespace {

constexpr int64_t kPartAlignment = 64;  // a cache line

// Bytes of one part in all units of its group. False when they do not fit in 63 bits.
bool bytes_of(const KvPart& part, const KvGroup& group, int64_t& bytes) {
  int64_t padded;
  if (__builtin_mul_overflow(part.unit_bytes, group.units, &bytes) ||
      __builtin_add_overflow(bytes, kPartAlignment - 1, &padded)) {
    return false;
  }
  bytes = padded / kPartAlignment * kPartAlignment;
  return true;
}

}  // namespace

absl::StatusOr<KvStore> KvStore::create(std::span<const KvPart> parts,
                                        std::span<const KvGroup> groups) {
  std::vector<int64_t> group_bytes(groups.size());
  std::vector<int64_t> offsets;
  KvStore store;
  for (const KvPart& part : parts) {
    const KvGroup& group = groups[static_cast<size_t>(part.group)];
    CHECK(part.unit_bytes > 0 && group.units > 0);
    int64_t& total = group_bytes[static_cast<size_t>(part.group)];
    offsets.push_back(total);
    int64_t bytes;
    if (!bytes_of(part, group, bytes) || __builtin_add_overflow(total, bytes, &total)) {
      return resource_exhausted("a cache of {} {} of {} bytes a layer is larger than any memory",
                                group.units, group.kind == KvKind::kState ? "states" : "blocks",
                                part.unit_bytes);
    }
    store.part_groups_.push_back(part.group);
  }
  for (const int64_t bytes : group_bytes) {
    ASSIGN_OR_RETURN(Buffer buffer, Buffer::allocate(bytes));
    store.buffers_.push_back(std::move(buffer));
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto group = static_cast<size_t>(parts[i].group);
    store.parts_.push_back({.data = store.buffers_[group].data() + offsets[i],
                            .stride = parts[i].unit_bytes,
                            .units = groups[group].units});
  }
  return store;
}

int64_t KvStore::bytes() const {
  int64_t bytes = 0;
  for (const Buffer& buffer : buffers_) bytes += buffer.size();
  return bytes;
}

void KvStore::copy(Lane& lane, std::span<const BlockCopy> copies) const {
  lane.for_each_piece(parts(), 1, [&](WorkRange piece) {
    for (const BlockCopy& copy : copies) {
      for (int64_t i = piece.begin; i < piece.end; ++i) {
        if (part_groups_[static_cast<size_t>(i)] != copy.group) continue;
        const KvBytes& part = this->part(i);
        std::memcpy(part.data + copy.to.value * part.stride,
                    part.data + copy.from.value * part.stride, static_cast<size_t>(part.stride));
      }
    }
  });
}

}  // namespace millrace
