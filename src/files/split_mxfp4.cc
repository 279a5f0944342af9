#include "files/split_mxfp4.h"

#include <algorithm>
#include <vector>

#include "base/check.h"

namespace millrace {
namespace {

constexpr int64_t kElementBytes = 16;  // of a block
constexpr int64_t kBlockBytes = 1 + kElementBytes;

unsigned element_of(const std::byte* elements, size_t i) {
  return std::to_integer<unsigned>(elements[i / 2] >> (i % 2 * 4)) & 15U;
}

// Element i and element i + 16 in one byte.
void join(std::byte scale, const std::byte* elements, std::byte* block) {
  block[0] = scale;
  for (size_t i = 0; i < kElementBytes; ++i) {
    block[1 + i] = std::byte(element_of(elements, i) | element_of(elements, i + 16) << 4);
  }
}

}  // namespace

absl::Status read_split_mxfp4(const SplitMxfp4& split, const FileBytes& elements,
                              const FileBytes& scales, int64_t first, std::span<std::byte> out) {
  CHECK(std::ssize(out) % kBlockBytes == 0, "{} bytes of MXFP4", out.size());
  std::vector<std::byte> row_elements, row_scales;
  while (!out.empty()) {
    const int64_t in_row = first % split.row_blocks;
    const int64_t blocks = std::min(std::ssize(out) / kBlockBytes, split.row_blocks - in_row);
    const int64_t at = first / split.row_blocks * split.row_step * split.row_blocks + in_row;
    row_elements.resize(static_cast<size_t>(blocks * kElementBytes));
    row_scales.resize(static_cast<size_t>(blocks));
    RETURN_IF_ERROR(elements.read(split.elements_offset + static_cast<uint64_t>(at * kElementBytes),
                                  row_elements));
    RETURN_IF_ERROR(scales.read(split.scales_offset + static_cast<uint64_t>(at), row_scales));
    for (int64_t i = 0; i < blocks; ++i) {
      join(row_scales[static_cast<size_t>(i)], row_elements.data() + i * kElementBytes,
           out.data() + i * kBlockBytes);
    }
    out = out.subspan(static_cast<size_t>(blocks * kBlockBytes));
    first += blocks;
  }
  return absl::OkStatus();
}

}  // namespace millrace
