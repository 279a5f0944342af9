#include "kvstore/kv_store.h"

#include <cstdint>
#include <limits>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace millrace {
namespace {

const std::vector<KvPart> kParts = {
    {.group = 0, .unit_bytes = 200},
    {.group = 1, .unit_bytes = 64},
    {.group = 0, .unit_bytes = 36},
};

std::vector<KvGroup> two_groups() {
  return {{.block_tokens = 4, .units = 5}, {.block_tokens = 3, .units = 6}};
}

TEST(KvStore, EveryUnitHasItsOwnBytesOfAnAlignedPart) {
  const std::vector<KvGroup> groups = two_groups();
  const KvStore store = KvStore::create(kParts, groups).value();
  ASSERT_EQ(store.parts(), 3);
  int64_t bytes = 0;
  std::set<std::byte*> seen;
  for (int64_t i = 0; i < store.parts(); ++i) {
    const KvPart& part = kParts[static_cast<size_t>(i)];
    const KvBytes& placed = store.part(i);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(placed.data) % 64, 0U);
    EXPECT_EQ(placed.stride, part.unit_bytes);
    EXPECT_EQ(placed.units, groups[static_cast<size_t>(part.group)].units);
    bytes += placed.stride * placed.units;
    for (int64_t at = 0; at < placed.stride * placed.units; ++at) {
      placed.data[at] = std::byte{1};
      seen.insert(placed.data + at);
    }
  }
  EXPECT_EQ(std::ssize(seen), bytes);
  EXPECT_LE(bytes, store.bytes());
  EXPECT_LT(store.bytes(), bytes + 3 * 64);
}

TEST(KvStore, ACacheLargerThanMemoryIsRefused) {
  std::vector<KvGroup> groups = two_groups();
  groups[1].units = std::numeric_limits<int64_t>::max() / 8;
  EXPECT_EQ(KvStore::create(kParts, groups).status().code(), absl::StatusCode::kResourceExhausted);
  groups[1].units = int64_t{1} << 54;
  EXPECT_EQ(KvStore::create(kParts, groups).status().code(), absl::StatusCode::kResourceExhausted);
}

std::vector<std::byte> unit_of(const KvStore& store, int64_t part, int64_t unit) {
  const KvBytes& bytes = store.part(part);
  const std::byte* start = bytes.data + unit * bytes.stride;
  return {start, start + bytes.stride};
}

TEST(KvStore, CopiesMoveBlocksOfOneGroupInOrderOnAnyNumberOfLanes) {
  for (int lanes = 1; lanes <= 4; ++lanes) {
    const KvStore store = KvStore::create(kParts, two_groups()).value();
    for (int64_t part = 0; part < 3; ++part) {
      const KvBytes& bytes = store.part(part);
      for (int64_t at = 0; at < bytes.stride * bytes.units; ++at) {
        bytes.data[at] = static_cast<std::byte>((part + 1) * 31 + at * 7 + at / 251);
      }
    }
    const std::vector<std::byte> other_before = unit_of(store, 1, 3);
    const std::vector<std::vector<std::byte>> sources = {unit_of(store, 0, 1),
                                                         unit_of(store, 2, 1)};
    const std::vector<BlockCopy> copies = {
        {.group = 0, .from = BlockId{1}, .to = BlockId{3}, .tokens = 2},
        {.group = 0, .from = BlockId{3}, .to = BlockId{4}, .tokens = 1},
        {.group = 1, .from = BlockId{0}, .to = BlockId{2}, .tokens = 3}};
    LanePool pool(lanes);
    pool.run([&](Lane& lane) { store.copy(lane, copies); });
    EXPECT_EQ(unit_of(store, 0, 3), sources[0]);
    EXPECT_EQ(unit_of(store, 2, 3), sources[1]);
    EXPECT_EQ(unit_of(store, 0, 4), sources[0]);  // the second copy sees the first one's result
    EXPECT_EQ(unit_of(store, 1, 3), other_before);
    EXPECT_EQ(unit_of(store, 1, 2), unit_of(store, 1, 0));
  }
}

}  // namespace
}  // namespace millrace
