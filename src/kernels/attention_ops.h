#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/ids.h"
#include "kernels/attention_pattern.h"
#include "kernels/row_ops.h"
#include "tensor/kv_layer.h"
#include "tensor/view.h"

// What the operations of attention over paged blocks (kernels/ops.h) take.

namespace millrace::ops {

using millrace::KvLayer;

// One sequence's rows in the batch: [row, row + rows).
struct AttentionSlice {
  int32_t row = 0;
  int32_t rows = 0;
  int32_t write_from = 0;  // rows at positions below it are not stored
  std::span<const BlockId> table;
};

// A table as the kernels take it.
inline const int32_t* numbers_of(std::span<const BlockId> table) {
  static_assert(sizeof(BlockId) == sizeof(int32_t));
  return &table.data()->value;
}

// The rows' places: positions and slots of all rows in the batch (core/batch.h), and the keys that
// each reads, as a pattern lists them (kernels/attention_pattern.h), in order of their positions.
struct AttentionRows {
  std::span<const AttentionSlice> slices;
  std::span<const int32_t> positions;
  std::span<const int32_t> slots;
  const KeyRanges* keys = nullptr;
  const KeyPaths* paths = nullptr;  // null: all keys are stored where their positions say
};

// Rotary embedding (Su et al. 2021), in pairs of neighbours (d, d + 1) or of halves (d, d + rotated
// / 2), on the first `rotated` dimensions of a head. Angle of pair i at a position: position *
// frequencies[i], a float32 product as the models' own code has it.
struct Rope {
  enum class Pairs { kNeighbours, kHalves };
  Pairs pairs = Pairs::kNeighbours;
  int32_t rotated = 0;
  std::span<const float> frequencies;  // [rotated / 2]
  float magnitude = 1.0F;              // multiplies cosine and sine (YaRN)
};

// Norms of each query, key and value head. Weights and biases are [head_dim], the same for every
// head, or [heads * head_dim].
struct HeadNorms {
  enum class Place : uint8_t { kNone, kBeforeRotation, kAfterRotation };
  Place place = Place::kNone;
  Norm query = {};
  Norm key = {};
  std::optional<Norm> value = std::nullopt;
};

// What becomes of queries and keys between their products and attention.
struct Rotation {
  Rope::Pairs pairs = Rope::Pairs::kNeighbours;
  Rows<const float> angles =
      {};             // what Ops::rope_angles() made, [rows, rotated]; width 0: no rotation
  int32_t first = 0;  // dimensions of a head before those that are rotated
  HeadNorms norms = {};
  // Queries times 1 + temperature * log(1 + floor((position + temperature_offset) /
  // temperature_length)) (Nakanishi 2025); 0: none. The offset is 1 in Llama 4, 0 in Ministral 3.
  float temperature = 0;
  int32_t temperature_length = 0;
  int32_t temperature_offset = 0;
};

struct AttentionShape {
  int32_t query_heads = 0;  // a multiple of the cache's heads
  int32_t keys_max = 0;     // that a row reads, without gaps; 0: any number
  float scale = 0;          // of the scores, usually 1 / sqrt(head_dim)
  float softcap = 0;        // scores become softcap * tanh(score / softcap); 0: they stay
  // [query_heads]; empty: none. A head's sink is a score that takes part in the softmax and has no
  // value (Xiao et al. 2023, learned in gpt-oss).
  std::span<const float> sinks = {};
  // [query_heads]; empty: none. Scores get slope * (key's position - row's) (ALiBi; Press et al.
  // 2022).
  std::span<const float> slopes = {};
};

// Bytes of working memory that Ops::attention() needs for `lanes` lanes, a multiple of 64.
int64_t attention_memory_bytes(const AttentionShape& shape, const KvLayer& cache, int lanes);

}  // namespace millrace::ops
