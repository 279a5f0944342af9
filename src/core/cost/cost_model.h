#pragma once

#include <array>
#include <cstdint>

#include "core/batch.h"

namespace millrace {

// What a step's time depends on.
struct StepShape {
  int32_t rows = 0;   // computed
  int32_t wants = 0;  // rows that go through the head
  int64_t keys = 0;   // before rows and their own, summed over them
};

StepShape shape_of(const Batch& batch);

// The milliseconds of a step from its shape, learned from the steps that were: least squares of
// relative errors over decaying observations, so that a step that was held up counts little, linear
// in wants and keys and, as a few rows cost less than many, piecewise linear in rows. Directions
// that steps did not take stay near the assumption that eight rows cost twice what one costs.
class CostModel {
 public:
  // False: nothing was observed, and ms() is 0.
  bool knows() const { return observations_ > 0; }
  double ms(const StepShape& shape) const;
  // Of a step that took `ms` > 0.
  void observe(const StepShape& shape, double ms);
  // How far ms() was off lately, as a share of what the step took.
  double error() const { return error_; }

 private:
  static constexpr int kTerms = 8;
  using Terms = std::array<double, kTerms>;

  static Terms terms_of(const StepShape& shape);
  void assume(double one_row_ms);
  void solve();

  Terms assumed_ = {}, learned_ = {};       // milliseconds a term
  std::array<Terms, kTerms> squares_ = {};  // sums over observations: term times term
  Terms products_ = {};                     // term times milliseconds
  int64_t observations_ = 0;
  double error_ = 0;
};

}  // namespace millrace
