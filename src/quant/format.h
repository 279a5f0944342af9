#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"

namespace millrace {

// A block out of bytes of any alignment.
template <typename Block>
Block load_block(const std::byte* bytes) {
  Block block;
  std::memcpy(&block, bytes, sizeof block);
  return block;
}

// `elements` is a multiple of the format's block; the bytes need no alignment.

// The stored values as float32, exact. blocks: [row_bytes(type, elements)]; out: [elements].
void unpack_row(DType type, const std::byte* blocks, int64_t elements, float* out);

// The nearest values the format has, block by block (for formats with two levels of scales, those
// of a short search). Any input is safe; only finite ones come back as they were.
// in: [elements]; out: [row_bytes(type, elements)].
void pack_row(DType type, const float* in, int64_t elements, std::byte* out);

}  // namespace millrace
