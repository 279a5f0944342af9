#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/kv_layer.h"

// What attention needs of an instruction set. Included by files that are built for one; see
// kernels/kernels.h.

namespace millrace {

inline constexpr int kKeyTile = 32;    // keys that are scored together, anchored at position 0
inline constexpr int kKeySplit = 512;  // keys with one softmax of their own: 16 tiles

// Working memory is laid out in rows of whole vectors of the widest instruction set.
constexpr int64_t padded_head_dim(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

// Working memory of attend(): the queries in a cache type's own form, and a tile.
constexpr int64_t queries_floats(int64_t vectors, int64_t key_dim) {
  return vectors * padded_head_dim(key_dim) / 2;
}
constexpr int64_t attend_floats(int64_t vectors, int64_t key_dim, int64_t value_dim) {
  return queries_floats(vectors, key_dim) +
         kKeyTile * (padded_head_dim(key_dim) + padded_head_dim(value_dim));
}

// One K/V head of one sequence (tensor/kv_layer.h): the head's part of block b is at keys + b *
// block_stride.
struct KvHead {
  DType dtype;
  std::byte* keys;
  std::byte* values;
  int64_t block_stride;
  int32_t block_tokens;
  int32_t key_dim;
  int32_t value_dim;
  bool latent;
  const int32_t* table;  // block numbers of the sequence
};

constexpr KvHead kv_head(const KvLayer& cache, const int32_t* table, int64_t head) {
  return {.dtype = cache.dtype,
          .keys = cache.keys + head * cache.head_stride,
          .values = cache.values + head * cache.head_stride,
          .block_stride = cache.block_stride,
          .block_tokens = cache.block_tokens,
          .key_dim = cache.key_dim,
          .value_dim = cache.value_dim,
          .latent = cache.latent,
          .table = table};
}

// Keys [begin, end) of a sequence.
struct KeyRange {
  int32_t begin;
  int32_t end;
};

// The query heads that read one K/V head, of some neighbouring rows of one sequence, at most
// kKeyTile. Vector (row, head) is number row * heads + head.
struct QueryRows {
  const float* data;   // vector (row, head) is at data + row * row_stride + head * key_dim
  int64_t row_stride;  // floats
  int32_t rows;
  int32_t heads;
  // What row i reads: ranges[starts[i]] up to ranges[starts[i + 1]], ascending, without overlap.
  const KeyRange* ranges;
  const int32_t* starts;     // [rows + 1]
  const int32_t* positions;  // [rows]
  // The last keys that row i reads, its own at the end, are stored at path_slots[path_starts[i]] up
  // to path_slots[path_starts[i + 1]]; others, and all without these arrays, at the slots that
  // equal their positions.
  const int32_t* path_slots;
  const int32_t* path_starts;  // [rows + 1]
  // A score is its dot product times `scale`, then, with a softcap above 0, softcap * tanh(score /
  // softcap), then plus slope * (key's position - row's) where heads have slopes.
  float scale;
  float softcap;
  const float* slopes;  // [heads]; null: none
};

// Softmax and weighted sum over some keys, for each vector: the largest score, the sum of exp(score
// - max), and the values weighted by these. No keys: sum 0.
struct SoftmaxState {
  float* max;  // [vectors]
  float* sum;  // [vectors]
  float* out;  // [vectors, padded_head_dim(value_dim)]
};

struct AttentionKernels {
  // Rotates the first `rotated` elements of a head in place, in pairs of neighbours or of halves.
  // angles: [rotated], cosines then sines.
  void (*rotate)(float* head, const float* angles, int32_t rotated, bool halves);
  // Writes a key, [key_dim], and a value, [value_dim], to slot `slot`, rounded to the cache's type;
  // of latents the key alone.
  void (*store_token)(const KvHead& cache, int64_t slot, const float* key, const float* value);
  // Sets `state` to what the vectors read of the keys [split * kKeySplit, + kKeySplit). memory:
  // attend_floats(vectors, key_dim, value_dim).
  void (*attend)(const KvHead& cache, const QueryRows& queries, int32_t split, float* memory,
                 const SoftmaxState& state);
  // Adds later keys to a state.
  void (*merge)(const SoftmaxState& later, int32_t vectors, int32_t value_dim,
                const SoftmaxState& state);
  // out = state.out / (state.sum + exp(sink - state.max)) of one vector. sink: minus infinity where
  // there is none; out: [value_dim].
  void (*finish)(const SoftmaxState& state, int32_t vector, int32_t value_dim, float sink,
                 float* out);
};

// Made in isa/NAME/attention.cc.
extern const AttentionKernels kScalarAttention;
extern const AttentionKernels kPortable8Attention;
extern const AttentionKernels kPortable16Attention;
extern const AttentionKernels kAvx2Attention;
extern const AttentionKernels kAvx512Attention;
extern const AttentionKernels kAvx512Bf16Attention;

}  // namespace millrace
