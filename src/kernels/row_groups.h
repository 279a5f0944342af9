#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/activations.h"
#include "kernels/kernels.h"
#include "kernels/q8.h"

namespace millrace {

// Up to kGroupRows neighbouring rows. Their blocks lie together: q8 [width / 32, rows of the
// group], q16 [width / 32, 2, rows of the group], and q8_k and q16_k likewise by 256.
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

inline Q8KBlock* q8_k_of(const Activations& in, const RowGroup& group) {
  if (!in.forms.q8_k) return nullptr;
  return reinterpret_cast<Q8KBlock*>(in.q8_k) + group.first * (in.width / kQ8KWidth);
}

inline Q8KBlock* q16_k_of(const Activations& in, const RowGroup& group) {
  if (!in.forms.q16_k) return nullptr;
  return reinterpret_cast<Q8KBlock*>(in.q16_k) + group.first * 2 * (in.width / kQ8KWidth);
}

inline float* f32_of(const Activations& in, int64_t row) {
  return in.forms.f32 ? in.f32 + row * in.width : nullptr;
}

inline uint16_t* bf16_of(const Activations& in, int64_t row) {
  return in.forms.bf16 ? in.bf16 + row * in.width : nullptr;
}

// A norm as the kernels take it.
inline RowNorm row_norm_of(const ops::Norm& norm) {
  return {.weight = norm.weight.empty() ? nullptr : norm.weight.data(),
          .bias = norm.bias.empty() ? nullptr : norm.bias.data(),
          .epsilon = norm.epsilon,
          .centred = norm.kind == ops::Norm::Kind::kLayer};
}

// Where a group's row `column` goes in each form, from element `first` on, a multiple of what the
// forms have together.
inline RowForms forms_of_stretch(const Activations& out, const RowGroup& group, int64_t column,
                                 int64_t first) {
  RowForms forms{.f32 = f32_of(out, group.first + column),
                 .bf16 = bf16_of(out, group.first + column),
                 .q8 = q8_of(out, group),
                 .q16 = q16_of(out, group),
                 .q8_k = q8_k_of(out, group),
                 .q16_k = q16_k_of(out, group),
                 .group_rows = group.rows};
  if (forms.f32 != nullptr) forms.f32 += first;
  if (forms.bf16 != nullptr) forms.bf16 += first;
  if (forms.q8 != nullptr) forms.q8 += first / kQ8Width * group.rows + column;
  if (forms.q16 != nullptr) forms.q16 += 2 * first / kQ8Width * group.rows + column;
  if (forms.q8_k != nullptr) forms.q8_k += first / kQ8KWidth * group.rows + column;
  if (forms.q16_k != nullptr) forms.q16_k += 2 * first / kQ8KWidth * group.rows + column;
  return forms;
}

inline RowForms forms_of_row(const Activations& out, int64_t row) {
  const RowGroup group = row_group_at(out.rows, row / kGroupRows);
  return forms_of_stretch(out, group, row - group.first, 0);
}

// Of a group's first row.
inline RowForms forms_of_group(const Activations& out, const RowGroup& group, int64_t first) {
  return forms_of_stretch(out, group, 0, first);
}

}  // namespace millrace
