#include "quant/packed_matrix.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <utility>
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
    const TensorView source{{type, 2, {rows, width, 1, 1}}, blocks.data()};
    const Storage storage(PackedMatrix::bytes(type, rows, width));
    PackedMatrix packed(type, rows, width, storage.data);
    EXPECT_TRUE(packed.pack(source));
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
  EXPECT_TRUE(packed.pack({{type, 2, {32, width, 1, 1}}, first.data()}));
  EXPECT_TRUE(packed.pack({{type, 2, {8, width, 1, 1}}, second.data()}, 32));
  std::vector<float> expected(static_cast<size_t>(width));
  std::vector<float> actual(static_cast<size_t>(width));
  for (int64_t r = 0; r < 40; ++r) {
    const std::vector<std::byte>& source = r < 32 ? first : second;
    unpack_row(type, source.data() + (r % 32) * row_bytes(type, width), width, expected.data());
    packed.unpack_row(r, actual.data());
    ASSERT_EQ(actual, expected) << r;
  }
}

// Each pair of bytes of a block becomes a NaN and an infinity of 16 bits, and ones all over, so
// that values, scales and minimums all do, wherever a format has them.
TEST_P(PackedMatrixTest, FindsWhatIsNotANumber) {
  const DType type = GetParam().type;
  const int64_t width = 2 * GetParam().block_elements;
  const int64_t rows = 17;
  const Storage storage(PackedMatrix::bytes(type, rows, width));
  PackedMatrix packed(type, rows, width, storage.data);
  const std::vector<std::byte> good = random_blocks(type, rows, width, 1);
  int found = 0;
  for (const auto& [low, high] :
       {std::pair{0x00, 0x7c}, {0x00, 0xfc}, {0x01, 0x7e}, {0x80, 0x7f}, {0xff, 0xff}}) {
    for (size_t at = 0; at + 1 < static_cast<size_t>(info_of(type).block_bytes); ++at) {
      std::vector<std::byte> blocks = good;
      const size_t last = blocks.size() - static_cast<size_t>(info_of(type).block_bytes);
      blocks[last + at] = std::byte(low);
      blocks[last + at + 1] = std::byte(high);
      std::vector<float> values(static_cast<size_t>(width));
      unpack_row(type, blocks.data() + (rows - 1) * row_bytes(type, width), width, values.data());
      const bool is_finite =
          std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
      EXPECT_EQ(packed.pack({{type, 2, {rows, width, 1, 1}}, blocks.data()}), is_finite)
          << low << " " << high << " at " << at;
      found += is_finite ? 0 : 1;
    }
  }
  EXPECT_GE(found, 1);
}

INSTANTIATE_TEST_SUITE_P(EveryFormat, PackedMatrixTest, testing::ValuesIn(kDTypes),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace millrace
