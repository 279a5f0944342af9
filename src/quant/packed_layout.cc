#include "quant/packed_layout.h"

#include <algorithm>
#include <tuple>
#include <vector>

#include "base/checksum.h"
#include "base/random.h"
#include "quant/packed_matrix.h"

namespace millrace {
namespace {

// More than a few panels and blocks, the last panel not whole.
constexpr int64_t kRows = 5 * kPanelRows + 3;
constexpr int64_t kWidth = 1024;

std::vector<std::byte> arbitrary_bytes(DType type) {
  const auto size = static_cast<size_t>(kRows * row_bytes(type, kWidth));
  std::vector<std::byte> bytes;
  bytes.reserve(size + 16);
  for (uint32_t i = 0; bytes.size() < size; ++i) {
    for (const uint32_t word : philox({1, 0}, {i, 0, 0, 0})) {
      for (int byte = 0; byte < 4; ++byte) bytes.push_back(std::byte(word >> 8 * byte & 255));
    }
  }
  return bytes;
}

}  // namespace

uint64_t packed_layout() {
  std::vector<uint64_t> sums;
  for (const DTypeInfo& info : kDTypes) {
    const std::vector<std::byte> source = arbitrary_bytes(info.type);
    const auto bytes = static_cast<size_t>(PackedMatrix::bytes(info.type, kRows, kWidth));
    struct alignas(64) Line {
      std::byte bytes[64] = {};
    };
    std::vector<Line> storage(bytes / sizeof(Line) + 1);
    PackedMatrix matrix(info.type, kRows, kWidth, storage[0].bytes);
    std::ignore = matrix.pack({{info.type, 2, {kRows, kWidth, 1, 1}}, source.data()});
    sums.push_back(checksum(std::as_bytes(std::span(storage))));
  }
  return checksum(std::as_bytes(std::span(sums)));
}

}  // namespace millrace
