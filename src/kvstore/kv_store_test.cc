#include "kvstore/kv_store.h"

#include <cstdint>
#include <limits>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace millrace {
namespace {

std::byte* key(const KvLayer& layer, int64_t block, int64_t head, int64_t token, int64_t d) {
  return layer.keys + block * layer.block_stride + head * layer.head_stride +
         key_element(layer.block_tokens, token, d) * row_bytes(layer.dtype, 1);
}

std::byte* value(const KvLayer& layer, int64_t block, int64_t head, int64_t token, int64_t d) {
  return layer.values + block * layer.block_stride + head * layer.head_stride +
         value_element(layer.head_dim, token, d) * row_bytes(layer.dtype, 1);
}

const std::vector<KvLayerShape> kLayers = {
    {.group = 0, .heads = 3, .head_dim = 8},
    {.group = 1, .heads = 2, .head_dim = 5},
    {.group = 0, .heads = 1, .head_dim = 7},
};

std::vector<KvGroup> two_groups() {
  return {{.block_tokens = 4, .units = 5}, {.block_tokens = 3, .units = 6}};
}

TEST(KvStore, EveryElementHasItsOwnAlignedBytes) {
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) {
    const KvStore store = KvStore::create(dtype, kLayers, two_groups()).value();
    const int64_t size = row_bytes(dtype, 1);
    std::set<std::byte*> seen;
    int64_t elements = 0;
    ASSERT_EQ(store.layers(), 3);
    for (int64_t i = 0; i < store.layers(); ++i) {
      const KvLayer& layer = store.layer(i);
      const int64_t units =
          two_groups()[static_cast<size_t>(kLayers[static_cast<size_t>(i)].group)].units;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(layer.keys) % 64, 0U);
      for (int64_t block = 0; block < units; ++block) {
        for (int64_t head = 0; head < layer.heads; ++head) {
          for (int64_t token = 0; token < layer.block_tokens; ++token) {
            for (int64_t d = 0; d < layer.head_dim; ++d, elements += 2) {
              seen.insert(key(layer, block, head, token, d));
              seen.insert(value(layer, block, head, token, d));
            }
          }
        }
      }
    }
    EXPECT_EQ(static_cast<int64_t>(seen.size()), elements);
    EXPECT_LE(elements * size, store.bytes());
    EXPECT_LT(store.bytes(), elements * size + 3 * 64);
  }
}

TEST(KvStore, BytesOfATokenCountEveryLayerOfItsGroup) {
  EXPECT_EQ(kv_token_bytes(DType::kF16, kLayers, 0), 2 * 2 * (3 * 8 + 7));
  EXPECT_EQ(kv_token_bytes(DType::kF32, kLayers, 1), 2 * 4 * 2 * 5);
  EXPECT_EQ(kv_token_bytes(DType::kF32, kLayers, 2), 0);
}

TEST(KvStore, ACacheLargerThanMemoryIsRefused) {
  std::vector<KvGroup> groups = two_groups();
  groups[1].units = std::numeric_limits<int64_t>::max() / 8;
  EXPECT_EQ(KvStore::create(DType::kF16, kLayers, groups).status().code(),
            absl::StatusCode::kResourceExhausted);
  groups[1].units = int64_t{1} << 54;
  EXPECT_EQ(KvStore::create(DType::kF16, kLayers, groups).status().code(),
            absl::StatusCode::kResourceExhausted);
}

// Writes a value that says where it is.
void mark(const KvStore& store, int64_t layer_index, int64_t block, int64_t blocks) {
  const KvLayer& layer = store.layer(layer_index);
  for (int64_t head = 0; head < layer.heads; ++head) {
    for (int64_t token = 0; token < layer.block_tokens; ++token) {
      for (int64_t d = 0; d < layer.head_dim; ++d) {
        const int64_t place = ((layer_index * blocks + block) * 8 + head) * 64 + token * 8 + d;
        *reinterpret_cast<float*>(key(layer, block, head, token, d)) = static_cast<float>(place);
        *reinterpret_cast<float*>(value(layer, block, head, token, d)) =
            static_cast<float>(-place - 1);
      }
    }
  }
}

std::vector<float> block_of(const KvStore& store, int64_t layer_index, int64_t block) {
  const KvLayer& layer = store.layer(layer_index);
  const auto* start = reinterpret_cast<const float*>(layer.keys + block * layer.block_stride);
  return {start, start + layer.block_stride / 4};
}

TEST(KvStore, CopiesMoveBlocksOfOneGroupInOrderOnAnyNumberOfLanes) {
  for (int lanes = 1; lanes <= 4; ++lanes) {
    const KvStore store = KvStore::create(DType::kF32, kLayers, two_groups()).value();
    for (int64_t layer = 0; layer < 3; ++layer) {
      for (int64_t block = 0; block < 5; ++block) mark(store, layer, block, 5);
    }
    const std::vector<float> other_before = block_of(store, 1, 3);
    const std::vector<std::vector<float>> sources = {block_of(store, 0, 1), block_of(store, 2, 1)};
    const std::vector<BlockCopy> copies = {
        {.group = 0, .from = BlockId{1}, .to = BlockId{3}, .tokens = 2},
        {.group = 0, .from = BlockId{3}, .to = BlockId{4}, .tokens = 1},
        {.group = 1, .from = BlockId{0}, .to = BlockId{2}, .tokens = 3}};
    LanePool pool(lanes);
    pool.run([&](Lane& lane) { store.copy(lane, copies); });
    EXPECT_EQ(block_of(store, 0, 3), sources[0]);
    EXPECT_EQ(block_of(store, 2, 3), sources[1]);
    EXPECT_EQ(block_of(store, 0, 4), sources[0]);  // the second copy sees the first one's result
    EXPECT_EQ(block_of(store, 1, 3), other_before);
    EXPECT_EQ(block_of(store, 1, 2), block_of(store, 1, 0));
  }
}

}  // namespace
}  // namespace millrace
