#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace millrace {

inline constexpr int kHeadDimMax = 576;  // elements of a key: the latents of DeepSeek V2

// Where an element lies in its head's part of a block, in elements, unless a tier lays a cache type
// otherwise (kernels/generic/kv_pairs.inc): keys [key_dim, block_tokens], values the other way.
constexpr int64_t key_element(int32_t block_tokens, int64_t token, int64_t d) {
  return d * block_tokens + token;
}
constexpr int64_t value_element(int32_t value_dim, int64_t token, int64_t d) {
  return token * value_dim + d;
}

// What attention keeps of a token: keys and values, or latents (DeepSeek-AI 2024, multi-head latent
// attention), keys whose first value_dim elements are the values as well and that are kept once.
struct KvShape {
  int32_t heads = 0;  // K/V heads
  int32_t key_dim = 0;
  int32_t value_dim = 0;
  bool latent = false;

  int64_t elements() const {
    return int64_t{heads} * (latent ? key_dim : int64_t{key_dim} + value_dim);
  }
};

// Where one layer's keys and values lie: block by block, in it head by head, each head's keys and
// then its values.
//   keys (block, head):   keys + block * block_stride + head * head_stride
//   values (block, head): values + block * block_stride + head * head_stride
// Latents lie token by token, [block_tokens, key_dim], and values is keys.
struct KvLayer {
  DType dtype = DType::kF16;  // F16, BF16 or F32
  std::byte* keys = nullptr;
  std::byte* values = nullptr;
  int64_t block_stride = 0;  // bytes
  int64_t head_stride = 0;   // bytes
  int64_t blocks = 0;
  int32_t block_tokens = 0;
  int32_t heads = 0;
  int32_t key_dim = 0;
  int32_t value_dim = 0;
  bool latent = false;
};

constexpr KvShape kv_shape(const KvLayer& layer) {
  return {.heads = layer.heads,
          .key_dim = layer.key_dim,
          .value_dim = layer.value_dim,
          .latent = layer.latent};
}

inline int64_t kv_token_bytes(DType dtype, const KvShape& shape) {
  return row_bytes(dtype, shape.elements());
}

// A layer of blocks one behind the other from `data` on, kv_token_bytes() * block_tokens each.
inline KvLayer kv_layer(DType dtype, const KvShape& shape, int32_t block_tokens, std::byte* data,
                        int64_t blocks) {
  const int64_t key_bytes = row_bytes(dtype, int64_t{shape.key_dim} * block_tokens);
  const int64_t value_bytes = row_bytes(dtype, int64_t{shape.value_dim} * block_tokens);
  return {.dtype = dtype,
          .keys = data,
          .values = shape.latent ? data : data + key_bytes,
          .block_stride = kv_token_bytes(dtype, shape) * block_tokens,
          .head_stride = shape.latent ? key_bytes : key_bytes + value_bytes,
          .blocks = blocks,
          .block_tokens = block_tokens,
          .heads = shape.heads,
          .key_dim = shape.key_dim,
          .value_dim = shape.value_dim,
          .latent = shape.latent};
}

}  // namespace millrace
