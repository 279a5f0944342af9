#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/attention_kernels.h"
#include "tensor/float_bits.h"

// The reference: plain loops in double, one element at a time, never optimised.

namespace millrace {
namespace {

void rotate(float* head, const float* angles, int32_t rotated, bool halves) {
  const int32_t pairs = rotated / 2;
  for (int32_t i = 0; i < pairs; ++i) {
    float& first = head[halves ? i : 2 * i];
    float& second = head[halves ? i + pairs : 2 * i + 1];
    const double x = first;
    const double y = second;
    const double cosine = angles[i];
    const double sine = angles[pairs + i];
    first = static_cast<float>(x * cosine - y * sine);
    second = static_cast<float>(y * cosine + x * sine);
  }
}

void put(DType dtype, float value, std::byte* out) {
  if (dtype == DType::kF32) {
    std::memcpy(out, &value, sizeof value);
    return;
  }
  const uint16_t bits = dtype == DType::kF16 ? f16_of_f32(value) : bf16_of_f32(value);
  std::memcpy(out, &bits, sizeof bits);
}

float get(DType dtype, const std::byte* in) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, in, sizeof value);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, in, sizeof bits);
  return dtype == DType::kF16 ? f32_of_f16(bits) : f32_of_bf16(bits);
}

int64_t element_bytes(DType dtype) { return dtype == DType::kF32 ? 4 : 2; }

int64_t key_index(const KvHead& cache, int64_t token, int64_t d) {
  return cache.latent ? token * cache.key_dim + d : key_element(cache.block_tokens, token, d);
}

std::byte* key_of(const KvHead& cache, int64_t position, int64_t d) {
  return cache.keys + cache.table[position / cache.block_tokens] * cache.block_stride +
         key_index(cache, position % cache.block_tokens, d) * element_bytes(cache.dtype);
}

std::byte* value_of(const KvHead& cache, int64_t position, int64_t d) {
  return cache.values + cache.table[position / cache.block_tokens] * cache.block_stride +
         value_element(cache.latent ? cache.key_dim : cache.value_dim,
                       position % cache.block_tokens, d) *
             element_bytes(cache.dtype);
}

void store_token(const KvHead& cache, int64_t slot, const float* key, const float* value) {
  for (int32_t d = 0; d < cache.key_dim; ++d) put(cache.dtype, key[d], key_of(cache, slot, d));
  if (cache.latent) return;
  for (int32_t d = 0; d < cache.value_dim; ++d) {
    put(cache.dtype, value[d], value_of(cache, slot, d));
  }
}

double key_at(const KvHead& cache, int64_t position, int64_t d) {
  return get(cache.dtype, key_of(cache, position, d));
}

double value_at(const KvHead& cache, int64_t position, int64_t d) {
  return get(cache.dtype, value_of(cache, position, d));
}

double score_at(const KvHead& cache, const float* query, int64_t position) {
  double dot = 0;
  for (int32_t d = 0; d < cache.key_dim; ++d) dot += query[d] * key_at(cache, position, d);
  return dot;
}

// What one vector reads of the keys [first, last).
struct ScalarVector {
  const KvHead& cache;
  const float* query;
  double scale;
  double softcap;
  double slope;
  int32_t position;
  const int32_t* path;  // slots of the last keys up to `position`
  int32_t path_length;
  int64_t first;
  int64_t last;

  int64_t slot_of(int64_t key) const {
    const int64_t i = key - (int64_t{position} + 1 - path_length);
    return i < 0 ? key : path[i];
  }
  double score(int64_t key) const {
    const double score = scale * score_at(cache, query, slot_of(key));
    const double capped = softcap > 0 ? softcap * std::tanh(score / softcap) : score;
    return capped + slope * static_cast<double>(key - position);
  }

  template <typename Visit>
  void for_each_key(const KeyRange* begin, const KeyRange* end, Visit visit) const {
    for (const KeyRange* range = begin; range < end; ++range) {
      for (int64_t key = range->begin; key < range->end; ++key) {
        if (key >= first && key < last) visit(key);
      }
    }
  }
};

void attend_vector(const ScalarVector& vector, const KeyRange* begin, const KeyRange* end,
                   float& max, float& sum, float* out) {
  const KvHead& cache = vector.cache;
  double top = -std::numeric_limits<double>::infinity();
  vector.for_each_key(begin, end, [&](int64_t key) { top = std::fmax(top, vector.score(key)); });
  double weights = 0;
  double mixed[kHeadDimMax] = {};
  bool any = false;
  vector.for_each_key(begin, end, [&](int64_t key) {
    const double weight = std::exp(vector.score(key) - top);
    any = true;
    weights += weight;
    const int64_t slot = vector.slot_of(key);
    for (int32_t d = 0; d < cache.value_dim; ++d) mixed[d] += weight * value_at(cache, slot, d);
  });
  max = static_cast<float>(top);
  // The stored maximum is rounded; what it lost moves into the sums.
  const double moved = any ? std::exp(top - max) : 0;
  sum = static_cast<float>(weights * moved);
  for (int32_t d = 0; d < cache.value_dim; ++d) out[d] = static_cast<float>(mixed[d] * moved);
}

void attend(const KvHead& cache, const QueryRows& queries, int32_t split, float*,
            const SoftmaxState& state) {
  const int64_t first = int64_t{split} * kKeySplit;
  for (int32_t row = 0; row < queries.rows; ++row) {
    const int32_t* paths = queries.path_starts == nullptr ? nullptr : queries.path_starts + row;
    for (int32_t head = 0; head < queries.heads; ++head) {
      const int32_t i = row * queries.heads + head;
      const ScalarVector vector = {
          .cache = cache,
          .query = queries.data + row * queries.row_stride + head * cache.key_dim,
          .scale = queries.scale,
          .softcap = queries.softcap,
          .slope = queries.slopes == nullptr ? 0 : queries.slopes[head],
          .position = queries.positions[row],
          .path = paths == nullptr ? nullptr : queries.path_slots + paths[0],
          .path_length = paths == nullptr ? 0 : paths[1] - paths[0],
          .first = first,
          .last = first + kKeySplit};
      attend_vector(vector, queries.ranges + queries.starts[row],
                    queries.ranges + queries.starts[row + 1], state.max[i], state.sum[i],
                    state.out + i * padded_head_dim(cache.value_dim));
    }
  }
}

void merge(const SoftmaxState& later, int32_t vectors, int32_t value_dim,
           const SoftmaxState& state) {
  for (int32_t i = 0; i < vectors; ++i) {
    if (later.sum[i] == 0) continue;
    const float max = std::fmax(state.max[i], later.max[i]);
    const double old_share = state.sum[i] == 0 ? 0 : std::exp(double{state.max[i]} - max);
    const double new_share = std::exp(double{later.max[i]} - max);
    float* out = state.out + i * padded_head_dim(value_dim);
    const float* added = later.out + i * padded_head_dim(value_dim);
    state.max[i] = max;
    state.sum[i] = static_cast<float>(state.sum[i] * old_share + later.sum[i] * new_share);
    for (int32_t d = 0; d < value_dim; ++d) {
      out[d] = static_cast<float>(out[d] * old_share + added[d] * new_share);
    }
  }
}

void finish(const SoftmaxState& state, int32_t vector, int32_t value_dim, float sink, float* out) {
  const float* mixed = state.out + vector * padded_head_dim(value_dim);
  const double sum = state.sum[vector] + std::exp(double{sink} - state.max[vector]);
  for (int32_t d = 0; d < value_dim; ++d) out[d] = static_cast<float>(mixed[d] / sum);
}

}  // namespace

const AttentionKernels kScalarAttention = {
    .rotate = rotate,
    .store_token = store_token,
    .attend = attend,
    .merge = merge,
    .finish = finish,
};

}  // namespace millrace
