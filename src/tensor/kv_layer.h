#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace millrace {

inline constexpr int kHeadDimMax = 256;  // dimensions of a head that the kernels' tiles hold

// Where one layer's keys and values lie, block by block. A head's keys of one block lie dimension
// by dimension, [head_dim, block_tokens], so that neighbouring tokens fill a vector; its values
// token by token, [block_tokens, head_dim]. With s = bytes of an element:
//   key   (block, head, token, d): keys + block * block_stride + head * head_stride
//                                  + (d * block_tokens + token) * s
//   value (block, head, token, d): values + block * block_stride + head * head_stride
//                                  + (token * head_dim + d) * s
struct KvLayer {
  DType dtype = DType::kF16;  // F16, BF16 or F32
  std::byte* keys = nullptr;
  std::byte* values = nullptr;
  int64_t block_stride = 0;  // bytes
  int64_t head_stride = 0;   // bytes
  int64_t blocks = 0;
  int32_t block_tokens = 0;
  int32_t heads = 0;  // K/V heads
  int32_t head_dim = 0;
};

}  // namespace millrace
