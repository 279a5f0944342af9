#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/ids.h"
#include "base/system/lanes.h"
#include "kernels/attention_pattern.h"
#include "kernels/isa.h"
#include "tensor/kv_layer.h"
#include "tensor/view.h"

// Attention over paged blocks. The same contract as kernels/ops.h: every lane calls, no op waits.

namespace millrace::ops {

using millrace::KvLayer;

// One sequence's rows in the batch: [row, row + rows), positions ascending by one.
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
// each reads, as a pattern lists them (kernels/attention_pattern.h). A key is read at the slot that
// equals its position.
struct AttentionRows {
  std::span<const AttentionSlice> slices;
  std::span<const int32_t> positions;
  std::span<const int32_t> slots;
  const KeyRanges* keys = nullptr;
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

// The rotations of a batch's rows, once a step for all layers that share `rope`. angles: [rows,
// rotated], the cosines of the pairs and then their sines, both times the magnitude.
void rope_angles(Lane& lane, const Rope& rope, std::span<const int32_t> positions,
                 Rows<float> angles);

// RMS norm of each head before the rotation (Qwen3); empty weights: none.
struct HeadNorm {
  std::span<const float> query;  // [head_dim]
  std::span<const float> key;    // [head_dim]
  float epsilon = 0;
};

// Norms and rotates the queries in place and the keys on their way into the cache; stores keys and
// values at their slots, rounded to the cache's type. angles: what rope_angles() made; queries:
// [rows, query_heads * head_dim]; keys, values: [rows, heads * head_dim].
void rope_and_store(Lane& lane, const Kernels& kernels, const AttentionRows& rows,
                    Rope::Pairs pairs, Rows<const float> angles, const HeadNorm& norm,
                    Rows<float> queries, Rows<const float> keys, Rows<const float> values,
                    const KvLayer& cache);

struct AttentionShape {
  int32_t query_heads = 0;  // a multiple of the cache's heads
  int32_t keys_max = 0;     // that a row reads, without gaps; 0: any number
  float scale = 0;          // of the scores, usually 1 / sqrt(head_dim)
};

// Bytes of working memory that attention() needs for `lanes` lanes, a multiple of 64.
int64_t attention_memory_bytes(const AttentionShape& shape, const KvLayer& cache, int lanes);

// Attention by online softmax (Milakov and Gimelshein 2018; Dao et al. 2022): tiles of 32
// keys anchored at position 0, splits of 512 keys merged in ascending order, whatever the blocks.
// Keys outside a row's ranges count as zero with V read as zero; a tile that a row does not read is
// skipped. memory:
// aligned to 64 bytes, zero when first used, then the ops' own; one serves every layer, with a
// barrier between two calls. out: [rows, query_heads * head_dim].
void attention(Lane& lane, const Kernels& kernels, const AttentionRows& rows,
               const AttentionShape& shape, Rows<const float> queries, const KvLayer& cache,
               std::span<std::byte> memory, Rows<float> out);

}  // namespace millrace::ops
