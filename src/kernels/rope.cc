#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/attention_kernels.h"
#include "kernels/kernels.h"
#include "kernels/ops.h"

namespace millrace::ops {
namespace {

std::span<const float> row_of(Rows<const float> rows, int64_t row) {
  return {rows.row(row), static_cast<size_t>(rows.width)};
}

void norm_and_rotate(const Kernels& kernels, Rope::Pairs pairs, std::span<const float> angles,
                     std::span<const float> weight, float epsilon, int32_t head_dim, float* head) {
  if (!weight.empty()) {
    kernels.rms_norm(head, weight.data(), head_dim, epsilon, {.f32 = head});
  }
  kernels.attention->rotate(head, angles.data(), static_cast<int32_t>(angles.size()),
                            pairs == Rope::Pairs::kHalves);
}

}  // namespace

void CpuOps::rope_angles(Lane& lane, const Rope& rope, std::span<const int32_t> positions,
                         Rows<float> angles) const {
  const int64_t pairs = rope.rotated / 2;
  lane.for_each_piece(std::ssize(positions), 1, [&](WorkRange rows) {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const auto position = static_cast<float>(positions[static_cast<size_t>(row)]);
      float* out = angles.row(row);
      for (int64_t i = 0; i < pairs; ++i) {
        const double angle = position * rope.frequencies[static_cast<size_t>(i)];
        out[i] = static_cast<float>(std::cos(angle)) * rope.magnitude;
        out[pairs + i] = static_cast<float>(std::sin(angle)) * rope.magnitude;
      }
    }
  });
}

void CpuOps::rope_and_store(Lane& lane, const AttentionRows& rows, Rope::Pairs pairs,
                            Rows<const float> angles, const HeadNorm& norm, Rows<float> queries,
                            Rows<const float> keys, Rows<const float> values,
                            const KvLayer& cache) const {
  CHECK(cache.head_dim <= kHeadDimMax, "heads of {} elements", cache.head_dim);
  const int32_t head_dim = cache.head_dim;
  const int64_t query_heads = queries.width / head_dim;
  const int64_t heads = query_heads + cache.heads;  // of a row; a key goes with its value
  lane.for_each_piece(queries.rows * heads, 1, [&](WorkRange mine) {
    alignas(64) float key[kHeadDimMax];
    for (const AttentionSlice& slice : rows.slices) {
      const int64_t first = std::max(mine.begin, slice.row * heads);
      const int64_t last = std::min(mine.end, int64_t{slice.row + slice.rows} * heads);
      for (int64_t item = first; item < last; ++item) {
        const int64_t row = item / heads;
        const int64_t head = item % heads - query_heads;
        if (head < 0) {
          norm_and_rotate(kernels_, pairs, row_of(angles, row), norm.query, norm.epsilon, head_dim,
                          queries.row(row) + (head + query_heads) * head_dim);
          continue;
        }
        if (rows.positions[static_cast<size_t>(row)] < slice.write_from) continue;
        std::memcpy(key, keys.row(row) + head * head_dim,
                    static_cast<size_t>(head_dim) * sizeof(float));
        norm_and_rotate(kernels_, pairs, row_of(angles, row), norm.key, norm.epsilon, head_dim,
                        key);
        kernels_.attention->store_token(kv_head(cache, numbers_of(slice.table), head),
                                        rows.slots[static_cast<size_t>(row)], key,
                                        values.row(row) + head * head_dim);
      }
    }
  });
}

}  // namespace millrace::ops
