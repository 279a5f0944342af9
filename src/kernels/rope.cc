#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/attention_kernels.h"
#include "kernels/kernels.h"
#include "kernels/ops.h"
#include "kernels/row_groups.h"

namespace millrace::ops {
namespace {

void check_head_norm(const Norm& norm, int64_t heads, int64_t head_dim) {
  for (const std::span<const float> vector : {norm.weight, norm.bias}) {
    const int64_t size = std::ssize(vector);
    CHECK(size == 0 || size == head_dim || size == heads * head_dim,
          "a norm of {} for {} heads of {}", size, heads, head_dim);
  }
}

// Norms and rotates the heads of one row's queries or keys.
struct HeadTurner {
  const Kernels& kernels;
  const Rotation& rotation;
  const Norm& norm;
  int64_t row;
  int32_t head_dim;

  void operator()(int64_t head, float* values) const {
    const HeadNorms::Place place = rotation.norms.place;
    if (place == HeadNorms::Place::kBeforeRotation) norm_head(head, values);
    kernels.attention->rotate(values, rotation.angles.row(row),
                              static_cast<int32_t>(rotation.angles.width),
                              rotation.pairs == Rope::Pairs::kHalves);
    if (place == HeadNorms::Place::kAfterRotation) norm_head(head, values);
  }

 private:
  void norm_head(int64_t head, float* values) const {
    const auto of_head = [&](std::span<const float> vector) -> const float* {
      if (vector.empty()) return nullptr;
      return vector.data() + (std::ssize(vector) == head_dim ? 0 : head * head_dim);
    };
    RowNorm row_norm = row_norm_of(norm);
    row_norm.weight = of_head(norm.weight);
    row_norm.bias = of_head(norm.bias);
    kernels.norm(values, row_norm, head_dim, {.f32 = values});
  }
};

float temperature_at(const Rotation& rotation, int32_t position) {
  const int32_t lengths = (position + rotation.temperature_offset) / rotation.temperature_length;
  const double growth = std::log1p(static_cast<double>(lengths));
  return static_cast<float>(1 + rotation.temperature * growth);
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

void CpuOps::rope_and_store(Lane& lane, const AttentionRows& rows, const Rotation& rotation,
                            Rows<float> queries, Rows<const float> keys, Rows<const float> values,
                            const KvLayer& cache) const {
  const int32_t head_dim = cache.key_dim;
  const int64_t query_heads = queries.width / head_dim;
  const int64_t key_heads = keys.width / head_dim;
  const int64_t heads = query_heads + key_heads;  // of a row; a key goes with its value
  CHECK(head_dim <= kHeadDimMax && cache.value_dim <= kHeadDimMax && !cache.latent,
        "heads of {} elements", head_dim);
  CHECK(rotation.angles.width <= head_dim && values.width == key_heads * cache.value_dim);
  CHECK(rotation.temperature == 0 || rotation.temperature_length > 0);
  check_head_norm(rotation.norms.query, query_heads, head_dim);
  check_head_norm(rotation.norms.key, cache.heads, head_dim);
  const auto turn_query = [&](int64_t row, int64_t head) {
    float* query = queries.row(row) + head * head_dim;
    HeadTurner{kernels_, rotation, rotation.norms.query, row, head_dim}(head, query);
    if (rotation.temperature == 0) return;
    kernels_.scale(query, head_dim,
                   temperature_at(rotation, rows.positions[static_cast<size_t>(row)]), 0);
  };
  lane.for_each_piece(queries.rows * heads, 1, [&](WorkRange mine) {
    alignas(64) float key[kHeadDimMax];
    for (const AttentionSlice& slice : rows.slices) {
      const int64_t first = std::max(mine.begin, slice.row * heads);
      const int64_t last = std::min(mine.end, int64_t{slice.row + slice.rows} * heads);
      for (int64_t item = first; item < last; ++item) {
        const int64_t row = item / heads;
        const int64_t head = item % heads - query_heads;
        if (head < 0) {
          turn_query(row, head + query_heads);
          continue;
        }
        if (rows.positions[static_cast<size_t>(row)] < slice.write_from) continue;
        std::memcpy(key, keys.row(row) + head * head_dim,
                    static_cast<size_t>(head_dim) * sizeof(float));
        HeadTurner{kernels_, rotation, rotation.norms.key, row, head_dim}(head, key);
        kernels_.attention->store_token(kv_head(cache, numbers_of(slice.table), head),
                                        rows.slots[static_cast<size_t>(row)], key,
                                        values.row(row) + head * cache.value_dim);
      }
    }
  });
}

void CpuOps::store_latents(Lane& lane, const AttentionRows& rows, Rows<const float> latents,
                           const KvLayer& cache) const {
  CHECK(cache.latent && cache.heads == 1 && cache.key_dim <= kHeadDimMax &&
            latents.width == cache.key_dim,
        "latents of {} elements for {}", latents.width, cache.key_dim);
  lane.for_each_piece(latents.rows, 1, [&](WorkRange mine) {
    for (const AttentionSlice& slice : rows.slices) {
      const KvHead head = kv_head(cache, numbers_of(slice.table), 0);
      const int64_t last = std::min(mine.end, int64_t{slice.row} + slice.rows);
      for (int64_t row = std::max<int64_t>(mine.begin, slice.row); row < last; ++row) {
        if (rows.positions[static_cast<size_t>(row)] < slice.write_from) continue;
        kernels_.attention->store_token(head, rows.slots[static_cast<size_t>(row)],
                                        latents.row(row), nullptr);
      }
    }
  });
}

}  // namespace millrace::ops
