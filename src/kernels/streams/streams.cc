#include <algorithm>

#include "base/check.h"
#include "kernels/kernels.h"
#include "kernels/ops.h"

namespace millrace::ops {
namespace {

constexpr int64_t kStreamStretch = 256;  // columns of every stream that are worked on together

// coefficients[i] = the sum of weights[i, k] * modes[k], k ascending.
void make_coefficients(const StreamUpdate& update, const float* modes, int64_t count,
                       float* coefficients) {
  const int64_t size = std::ssize(update.weights) / count;
  for (int64_t i = 0; i < size; ++i) {
    const float* weights = update.weights.data() + i * count;
    float sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += weights[k] * modes[k];
    coefficients[i] = sum;
  }
}

void check_streams(const StreamUpdate& update, int64_t coefficients, int64_t count,
                   const Rows<float>& streams, int64_t width) {
  CHECK(count > 0 && count <= kStreamsMax && update.active >= 0 && update.active < count,
        "stream {} of {}", update.active, count);
  CHECK(streams.width == count * width, "{} columns for {} streams of {}", streams.width, count,
        width);
  CHECK(std::ssize(update.weights) == coefficients * count, "{} weights", update.weights.size());
}

}  // namespace

void CpuOps::keep_largest(Lane& lane, float deviations, Rows<float> rows) const {
  lane.for_each_piece(rows.rows, 1, [&](WorkRange piece) {
    for (int64_t i = piece.begin; i < piece.end; ++i) {
      kernels_.keep_largest(rows.row(i), rows.width, deviations);
    }
  });
}

void CpuOps::match_magnitude(Lane& lane, Rows<const float> like, float least,
                             Rows<float> parts) const {
  const int64_t count = parts.width / like.width;
  CHECK(count * like.width == parts.width, "{} columns like {}", parts.width, like.width);
  lane.for_each_piece(parts.rows * count, 1, [&](WorkRange piece) {
    for (int64_t i = piece.begin; i < piece.end; ++i) {
      const int64_t row = i / count;
      kernels_.match_magnitude(like.row(row), like.width, least,
                               parts.row(row) + i % count * like.width);
    }
  });
}

void CpuOps::predict_streams(Lane& lane, const StreamUpdate& update, Rows<const float> modes,
                             Rows<float> streams, Rows<float> active) const {
  const int64_t count = modes.width;
  const int64_t width = active.width;
  check_streams(update, count * count, count, streams, width);
  lane.for_each_piece(streams.rows, 1, [&](WorkRange rows) {
    float coefficients[kStreamsMax * kStreamsMax];
    float before[kStreamsMax * kStreamStretch];
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      make_coefficients(update, modes.row(row), count, coefficients);
      for (int64_t first = 0; first < width; first += kStreamStretch) {
        const int64_t size = std::min(kStreamStretch, width - first);
        float* const at = streams.row(row) + first;
        for (int64_t j = 0; j < count; ++j)
          std::copy_n(at + j * width, size, before + j * kStreamStretch);
        for (int64_t i = 0; i < count * count; ++i) {
          kernels_.add(before + i % count * kStreamStretch, nullptr, size, coefficients[i],
                       at + i / count * width);
        }
      }
      std::copy_n(streams.row(row) + update.active * width, width, active.row(row));
    }
  });
}

void CpuOps::correct_streams(Lane& lane, const StreamUpdate& update, Rows<const float> modes,
                             Rows<const float> predicted, Rows<float> streams) const {
  const int64_t count = modes.width;
  const int64_t width = predicted.width;
  check_streams(update, count, count, streams, width);
  lane.for_each_piece(streams.rows, 1, [&](WorkRange rows) {
    float coefficients[kStreamsMax];
    float change[kStreamStretch];
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      make_coefficients(update, modes.row(row), count, coefficients);
      for (int64_t i = 0; i < count; ++i) coefficients[i] += i == update.active ? 0 : 1;
      for (int64_t first = 0; first < width; first += kStreamStretch) {
        const int64_t size = std::min(kStreamStretch, width - first);
        float* const at = streams.row(row) + first;
        std::copy_n(at + update.active * width, size, change);
        kernels_.add(predicted.row(row) + first, nullptr, size, -1, change);
        for (int64_t i = 0; i < count; ++i) {
          kernels_.add(change, nullptr, size, coefficients[i], at + i * width);
        }
      }
    }
  });
}

}  // namespace millrace::ops
