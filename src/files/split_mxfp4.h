#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "base/system/file_bytes.h"

namespace millrace {

// A tensor of MXFP4 as Hugging Face folders have it: the elements in one tensor, 16 bytes a block,
// elements 2 i and 2 i + 1 in the low and the high half of byte i; the scales in another, a byte
// each.
struct SplitMxfp4 {
  int32_t elements_file = 0;
  int32_t scales_file = 0;
  uint64_t elements_offset = 0;  // of the first row
  uint64_t scales_offset = 0;
  int64_t row_blocks = 0;
  int64_t row_step = 1;  // 2: the rows between are another tensor's
};

// Blocks [first, first + out.size() / 17) as GGUF files have them (quant/formats/mxfp4.h).
absl::Status read_split_mxfp4(const SplitMxfp4& split, const FileBytes& elements,
                              const FileBytes& scales, int64_t first, std::span<std::byte> out);

}  // namespace millrace
