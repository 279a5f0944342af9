#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/activations.h"
#include "kernels/q8.h"

namespace millrace {

// Up to kGroupRows neighbouring rows. Their blocks lie together: q8 [width / 32, rows of the
// group], q16 [width / 32, 2, rows of the group].
struct RowGroup {
  int64_t first = 0;
  int64_t rows = 0;
};

inline int64_t row_groups_of(int64_t rows) { return (rows + kGroupRows - 1) / kGroupRows; }

inline RowGroup row_group_at(int64_t rows, int64_t index) {
  const int64_t first = index * kGroupRows;
  return {first, std::min<int64_t>(kGroupRows, rows - first)};
}

inline Q8Block* q8_of(const Activations& in, const RowGroup& group) {
  if (!in.forms.q8) return nullptr;
  return reinterpret_cast<Q8Block*>(in.q8) + group.first * (in.width / kQ8Width);
}

inline Q8Block* q16_of(const Activations& in, const RowGroup& group) {
  if (!in.forms.q16) return nullptr;
  return reinterpret_cast<Q8Block*>(in.q16) + group.first * 2 * (in.width / kQ8Width);
}

inline float* f32_of(const Activations& in, int64_t row) {
  return in.forms.f32 ? in.f32 + row * in.width : nullptr;
}

inline uint16_t* bf16_of(const Activations& in, int64_t row) {
  return in.forms.bf16 ? in.bf16 + row * in.width : nullptr;
}

}  // namespace millrace
