#include "quant/packed_matrix.h"

#include <bit>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "quant/format.h"

namespace millrace {
namespace {

// Blocks of normally distributed values.
std::vector<std::byte> random_blocks(DType type, int64_t rows, int64_t width, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> row(static_cast<size_t>(width));
  std::vector<std::byte> blocks(static_cast<size_t>(rows * row_bytes(type, width)));
  std::normal_distribution<float> normal;
  for (int64_t r = 0; r < rows; ++r) {
    for (float& x : row) x = normal(random);
    pack_row(type, row.data(), width, blocks.data() + r * row_bytes(type, width));
  }
  return blocks;
}

struct Storage {
  explicit Storage(int64_t bytes)
      : data(static_cast<std::byte*>(
            std::aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64)))) {}
  ~Storage() { std::free(data); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  std::byte* data;
};

class PackedMatrixTest : public testing::TestWithParam<DTypeInfo> {};

TEST_P(PackedMatrixTest, GivesEveryRowBackExactly) {
  const DType type = GetParam().type;
  const int64_t width = 3 * std::max(GetParam().block_elements, 7);
  for (const int64_t rows : {1, 15, 16, 17, 50}) {
    const std::vector<std::byte> blocks = random_blocks(type, rows, width, 1);
    const TensorView source{
        .data = blocks.data(), .dtype = type, .rank = 2, .shape = {rows, width, 1, 1}};
    const Storage storage(PackedMatrix::bytes(type, rows, width));
    PackedMatrix packed(type, rows, width, storage.data);
    LanePool(3).run([&](Lane& lane) { packed.pack(lane, source); });
    std::vector<float> expected(static_cast<size_t>(width));
    std::vector<float> actual(static_cast<size_t>(width));
    for (int64_t r = 0; r < rows; ++r) {
      unpack_row(type, blocks.data() + r * row_bytes(type, width), width, expected.data());
      packed.unpack_row(r, actual.data());
      ASSERT_EQ(actual, expected) << "row " << r << " of " << rows;
    }
  }
}

TEST_P(PackedMatrixTest, PutsSeveralSourcesIntoOneMatrix) {
  const DType type = GetParam().type;
  const int64_t width = GetParam().block_elements;
  const Storage storage(PackedMatrix::bytes(type, 40, width));
  PackedMatrix packed(type, 40, width, storage.data);
  const std::vector<std::byte> first = random_blocks(type, 32, width, 2);
  const std::vector<std::byte> second = random_blocks(type, 8, width, 3);
  LanePool(2).run([&](Lane& lane) {
    packed.pack(lane, {.data = first.data(), .dtype = type, .rank = 2, .shape = {32, width, 1, 1}});
    packed.pack(lane, {.data = second.data(), .dtype = type, .rank = 2, .shape = {8, width, 1, 1}},
                32);
  });
  std::vector<float> expected(static_cast<size_t>(width));
  std::vector<float> actual(static_cast<size_t>(width));
  for (int64_t r = 0; r < 40; ++r) {
    const std::vector<std::byte>& source = r < 32 ? first : second;
    unpack_row(type, source.data() + (r % 32) * row_bytes(type, width), width, expected.data());
    packed.unpack_row(r, actual.data());
    ASSERT_EQ(actual, expected) << r;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryFormat, PackedMatrixTest, testing::ValuesIn(kDTypes),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace millrace
