#include "core/cost/cost_model.h"

#include <algorithm>
#include <cmath>

namespace millrace {
namespace {

constexpr double kKept = 0.998;        // of an observation's weight, a step later
constexpr double kAssumed = 0.05;      // the weight of the assumption, in steps
constexpr int64_t kAssuming = 16;      // steps of which the fastest makes the assumption
constexpr double kErrorKept = 0.98;    // of the running error, a step later
constexpr double kRowsThatDouble = 8;  // that cost twice what one costs, where nothing is known
constexpr double kKeysUnit = 1 << 16;  // brings all terms to about one

}  // namespace

StepShape shape_of(const Batch& batch) {
  StepShape shape = {.rows = batch.rows(), .wants = static_cast<int32_t>(batch.wants.size())};
  for (const int32_t position : batch.positions) shape.keys += position + 1;
  return shape;
}

CostModel::Terms CostModel::terms_of(const StepShape& shape) {
  const double rows = shape.rows;
  const auto beyond = [&](double knot) { return std::max(rows - knot, 0.0) / kRowsThatDouble; };
  return {1,
          (rows - 1) / kRowsThatDouble,
          beyond(4),
          beyond(8),
          beyond(16),
          beyond(64),
          shape.wants / kRowsThatDouble,
          static_cast<double>(shape.keys) / kKeysUnit};
}

double CostModel::ms(const StepShape& shape) const {
  const Terms terms = terms_of(shape);
  double sum = 0;
  for (size_t i = 0; i < kTerms; ++i) sum += terms[i] * learned_[i];
  return std::max(sum, 0.0);
}

void CostModel::observe(const StepShape& shape, double ms) {
  const Terms terms = terms_of(shape);
  if (observations_ < kAssuming) assume(ms / (1 + terms[1]));
  error_ = kErrorKept * error_ + (1 - kErrorKept) * std::abs(this->ms(shape) - ms) / ms;
  ++observations_;
  for (size_t i = 0; i < kTerms; ++i) {
    for (size_t j = 0; j < kTerms; ++j) {
      squares_[i][j] = kKept * squares_[i][j] + terms[i] * terms[j] / (ms * ms);
    }
    products_[i] = kKept * products_[i] + terms[i] / ms;
  }
  solve();
}

// The first steps may have waited for something, such as weights that were being read.
void CostModel::assume(double one_row_ms) {
  if (knows() && one_row_ms >= assumed_[0]) return;
  assumed_ = {one_row_ms, one_row_ms};
  if (!knows()) learned_ = assumed_;
}

// (squares + w) x = products + w * assumed by Cholesky's method.
void CostModel::solve() {
  const double weight = kAssumed / (assumed_[0] * assumed_[0]);
  std::array<Terms, kTerms> root = {};
  Terms x = {};
  for (size_t i = 0; i < kTerms; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      double sum = squares_[i][j] + (i == j ? weight : 0);
      for (size_t k = 0; k < j; ++k) sum -= root[i][k] * root[j][k];
      root[i][j] = i == j ? std::sqrt(sum) : sum / root[j][j];
    }
    x[i] = products_[i] + weight * assumed_[i];
    for (size_t k = 0; k < i; ++k) x[i] -= root[i][k] * x[k];
    x[i] /= root[i][i];
  }
  for (size_t i = kTerms; i-- > 0;) {
    for (size_t k = i + 1; k < kTerms; ++k) x[i] -= root[k][i] * x[k];
    x[i] /= root[i][i];
  }
  learned_ = x;
}

}  // namespace millrace
