#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

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

// out = norm(in) of one head. in, out: [head_dim], may be the same.
void norm_head(const Kernels& kernels, const Norm& norm, int64_t head, int32_t head_dim,
               const float* in, float* out) {
  const auto of_head = [&](std::span<const float> vector) -> const float* {
    if (vector.empty()) return nullptr;
    return vector.data() + (std::ssize(vector) == head_dim ? 0 : head * head_dim);
  };
  RowNorm row_norm = row_norm_of(norm);
  row_norm.weight = of_head(norm.weight);
  row_norm.bias = of_head(norm.bias);
  kernels.norm(in, row_norm, head_dim, {.f32 = out});
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
    if (place == HeadNorms::Place::kBeforeRotation) {
      norm_head(kernels, norm, head, head_dim, values, values);
    }
    kernels.attention->rotate(values + rotation.first, rotation.angles.row(row),
                              static_cast<int32_t>(rotation.angles.width),
                              rotation.pairs == Rope::Pairs::kHalves);
    if (place == HeadNorms::Place::kAfterRotation) {
      norm_head(kernels, norm, head, head_dim, values, values);
    }
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
  const int32_t value_dim = cache.latent ? 0 : cache.value_dim;
  CHECK(head_dim <= kHeadDimMax && value_dim <= kHeadDimMax, "heads of {} elements", head_dim);
  CHECK(rotation.first + rotation.angles.width <= head_dim &&
        values.width == key_heads * value_dim);
  CHECK(rotation.temperature == 0 || rotation.temperature_length > 0);
  check_head_norm(rotation.norms.query, query_heads, head_dim);
  check_head_norm(rotation.norms.key, cache.heads, head_dim);
  const std::optional<Norm>& value_norm = rotation.norms.value;
  if (value_norm) check_head_norm(*value_norm, cache.heads, value_dim);
  const auto turn_query = [&](int64_t row, int64_t head) {
    float* query = queries.row(row) + head * head_dim;
    HeadTurner{kernels_, rotation, rotation.norms.query, row, head_dim}(head, query);
    if (rotation.temperature == 0) return;
    kernels_.scale(query, head_dim,
                   temperature_at(rotation, rows.positions[static_cast<size_t>(row)]), 0);
  };
  lane.for_each_piece(queries.rows * heads, 1, [&](WorkRange mine) {
    alignas(64) float key[kHeadDimMax];
    alignas(64) float normed[kHeadDimMax];
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
        const float* value = cache.latent ? nullptr : values.row(row) + head * value_dim;
        if (value_norm && !cache.latent) {
          norm_head(kernels_, *value_norm, head, value_dim, value, normed);
          value = normed;
        }
        kernels_.attention->store_token(kv_head(cache, numbers_of(slice.table), head),
                                        rows.slots[static_cast<size_t>(row)], key, value);
      }
    }
  });
}

}  // namespace millrace::ops
