#include <algorithm>
#include <limits>

#include <absl/functional/function_ref.h>

#include "base/check.h"
#include "kernels/attention_kernels.h"
#include "kernels/attention_ops.h"
#include "kernels/kernels.h"

namespace millrace::ops {
namespace {

// Rows of a slice go through the keys together so that a tile of keys is converted once for all
// their vectors: as many as make this many vectors, whose states then stay in the first level
// cache.
constexpr int32_t kTileVectors = 48;

int32_t tile_rows(int32_t heads) { return std::clamp(kTileVectors / heads, 1, kKeyTile); }

// One lane's working memory, in floats.
struct Workspace {
  float* tile;         // [kKeyTile, 2 * padded]
  SoftmaxState split;  // of the split at hand
  SoftmaxState total;  // of all splits so far

  static int64_t floats(int64_t vectors, int64_t padded) {
    return 2 * kKeyTile * padded + 2 * state_floats(vectors, padded);
  }
  static Workspace place(int64_t vectors, int64_t padded, float* memory) {
    float* states = memory + 2 * kKeyTile * padded;
    return {.tile = memory,
            .split = state(vectors, padded, states),
            .total = state(vectors, padded, states + state_floats(vectors, padded))};
  }

 private:
  static int64_t state_floats(int64_t vectors, int64_t padded) {
    return vectors * padded + padded_head_dim(2 * vectors);
  }
  static SoftmaxState state(int64_t vectors, int64_t padded, float* memory) {
    float* sums = memory + vectors * padded;
    return {.max = sums, .sum = sums + vectors, .out = memory};
  }
};

int64_t workspace_floats(const AttentionShape& shape, const KvLayer& cache) {
  const int32_t heads = shape.query_heads / cache.heads;
  return Workspace::floats(int64_t{tile_rows(heads)} * heads, padded_head_dim(cache.head_dim));
}

// Neighbouring rows of one slice and one K/V head.
struct Item {
  const AttentionSlice& slice;
  int32_t first_row;  // in the batch
  int32_t rows;
  int32_t head;
  int32_t position;  // of the first row

  int32_t last_position() const { return position + rows - 1; }
  // The first split that some row sees.
  int32_t first_split(int32_t window) const {
    return window > 0 ? std::max(0, position + 1 - window) / kKeySplit : 0;
  }
  int32_t last_split() const { return last_position() / kKeySplit; }
  // Tiles seen times vectors, and what loading a tile costs beside one vector's work.
  int64_t cost(const AttentionShape& shape, int32_t heads) const {
    const int32_t first = shape.window > 0 ? std::max(0, position + 1 - shape.window) : 0;
    const int64_t tiles = last_position() / kKeyTile - first / kKeyTile + 1;
    return tiles * (rows * heads + 3);
  }
};

void for_each_item(const AttentionRows& rows, int32_t heads, int32_t kv_heads,
                   absl::FunctionRef<void(const Item&)> visit) {
  const int32_t height = tile_rows(heads);
  for (const AttentionSlice& slice : rows.slices) {
    for (int32_t first = 0; first < slice.rows; first += height) {
      const int32_t row = slice.row + first;
      for (int32_t head = 0; head < kv_heads; ++head) {
        visit({.slice = slice,
               .first_row = row,
               .rows = std::min(height, slice.rows - first),
               .head = head,
               .position = rows.positions[static_cast<size_t>(row)]});
      }
    }
  }
}

struct AttentionCall {
  const AttentionKernels& kernels;
  const AttentionShape& shape;
  Rows<const float> queries;
  const KvLayer& cache;
  Rows<float> out;
  int32_t heads;  // query heads of a K/V head
};

KvHead kv_head(const KvLayer& cache, const Item& item) {
  static_assert(sizeof(BlockId) == sizeof(int32_t));
  return {.dtype = cache.dtype,
          .keys = cache.keys + item.head * cache.head_stride,
          .values = cache.values + item.head * cache.head_stride,
          .block_stride = cache.block_stride,
          .block_tokens = cache.block_tokens,
          .head_dim = cache.head_dim,
          .table = &item.slice.table.data()->value};
}

void run(const AttentionCall& call, const Item& item, const Workspace& work) {
  const int32_t head_dim = call.cache.head_dim;
  const int64_t column = int64_t{item.head} * call.heads * head_dim;
  const int32_t vectors = item.rows * call.heads;
  const KvHead cache = kv_head(call.cache, item);
  const QueryTile queries = {.data = call.queries.row(item.first_row) + column,
                             .row_stride = call.queries.stride,
                             .rows = item.rows,
                             .heads = call.heads,
                             .position = item.position,
                             .window = call.shape.window,
                             .scale = call.shape.scale};
  std::fill_n(work.total.sum, vectors, 0.0F);
  std::fill_n(work.total.max, vectors, -std::numeric_limits<float>::infinity());
  std::fill_n(work.total.out, vectors * padded_head_dim(head_dim), 0.0F);
  for (int32_t split = item.first_split(call.shape.window); split <= item.last_split(); ++split) {
    call.kernels.attend(cache, queries, split, work.tile, work.split);
    call.kernels.merge(work.split, vectors, head_dim, work.total);
  }
  for (int32_t vector = 0; vector < vectors; ++vector) {
    call.kernels.finish(work.total, vector, head_dim,
                        call.out.row(item.first_row + vector / call.heads) + column +
                            vector % call.heads * head_dim);
  }
}

}  // namespace

int64_t attention_scratch_bytes(const AttentionShape& shape, const KvLayer& cache, int lanes) {
  return lanes * workspace_floats(shape, cache) * static_cast<int64_t>(sizeof(float));
}

void attention(Lane& lane, const Kernels& kernels, const AttentionRows& rows,
               const AttentionShape& shape, Rows<const float> queries, const KvLayer& cache,
               std::span<std::byte> scratch, Rows<float> out) {
  const int32_t heads = shape.query_heads / cache.heads;
  CHECK(heads * cache.heads == shape.query_heads && cache.head_dim <= kHeadDimMax);
  CHECK(static_cast<int64_t>(scratch.size()) >=
        attention_scratch_bytes(shape, cache, lane.count()));
  const AttentionCall call = {.kernels = *kernels.attention,
                              .shape = shape,
                              .queries = queries,
                              .cache = cache,
                              .out = out,
                              .heads = heads};
  const Workspace work = Workspace::place(
      int64_t{tile_rows(heads)} * heads, padded_head_dim(cache.head_dim),
      reinterpret_cast<float*>(scratch.data()) + lane.index() * workspace_floats(shape, cache));
  int64_t total = 0;
  for_each_item(rows, heads, cache.heads,
                [&](const Item& item) { total += item.cost(shape, heads); });
  int64_t before = 0;
  for_each_item(rows, heads, cache.heads, [&](const Item& item) {
    const int64_t cost = item.cost(shape, heads);
    const int64_t owner = (2 * before + cost) * lane.count() / (2 * total);  // by its middle
    before += cost;
    if (owner == lane.index()) run(call, item, work);
  });
}

}  // namespace millrace::ops
