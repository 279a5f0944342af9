#include "base/checksum.h"

#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(Checksum, TellsEveryFlippedBitAndEveryLengthApart) {
  std::vector<std::byte> bytes(200);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i * 7);
  std::set<uint64_t> seen;
  size_t sums = 0;
  for (size_t size = 0; size <= bytes.size(); ++size, ++sums) {
    seen.insert(checksum(std::span(bytes).first(size)));
  }
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit, ++sums) {
    bytes[bit / 8] ^= std::byte(1 << bit % 8);
    seen.insert(checksum(bytes));
    bytes[bit / 8] ^= std::byte(1 << bit % 8);
  }
  EXPECT_EQ(seen.size(), sums);
}

TEST(Checksum, TellsZerosOfDifferentLengthsAndSwappedLinesApart) {
  const std::vector<std::byte> zeros(300);
  EXPECT_NE(checksum(std::span(zeros).first(64)), checksum(std::span(zeros).first(128)));
  EXPECT_NE(checksum(std::span(zeros).first(1)), checksum({}));
  std::vector<std::byte> lines(192);
  lines[0] = std::byte{1};
  const uint64_t first = checksum(lines);
  std::swap(lines[0], lines[64]);
  EXPECT_NE(checksum(lines), first);
}

}  // namespace
}  // namespace millrace
