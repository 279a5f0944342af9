#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace millrace {

inline constexpr int kHeadDimMax = 256;  // dimensions of a head that the kernels' tiles hold

// Where an element lies in its head's part of a block, in elements, unless a tier lays a cache type
// otherwise (kernels/generic/kv_pairs.inc): keys [head_dim, block_tokens], values the other way.
constexpr int64_t key_element(int32_t block_tokens, int64_t token, int64_t d) {
  return d * block_tokens + token;
}
constexpr int64_t value_element(int32_t head_dim, int64_t token, int64_t d) {
  return token * head_dim + d;
}

// Where one layer's keys and values lie: block by block, in it head by head, each head's keys and
// then its values.
//   keys (block, head):   keys + block * block_stride + head * head_stride
//   values (block, head): values + block * block_stride + head * head_stride
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
