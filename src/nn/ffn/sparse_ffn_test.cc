#include "nn/ffn/sparse_ffn.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fixtures/nn/body_runs.h"

namespace millrace {
namespace {

SparseFfnSpec sparse_of(int64_t width, int64_t hidden, float deviations) {
  return {.width = width,
          .hidden = hidden,
          .function = {.kind = ActivationFunction::Kind::kGeluTanh},
          .deviations = deviations};
}

double gelu_tanh_in_double(double x) {
  return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

std::vector<double> sparse_product(const Floats& matrix, const std::vector<double>& in) {
  std::vector<double> out(matrix.size() / in.size());
  for (size_t i = 0; i < matrix.size(); ++i) {
    out[i / in.size()] += double{matrix[i]} * in[i % in.size()];
  }
  return out;
}

std::vector<double> sparse_reference(const SparseFfnSpec& spec, const MadeWeights& weights,
                                     std::span<const float> row) {
  const std::vector<double> in(row.begin(), row.end());
  const std::vector<double> gates = sparse_product(weights.floats.find("ffn_gate")->second, in);
  std::vector<double> hidden = sparse_product(weights.floats.find("ffn_up")->second, in);
  const auto count = static_cast<double>(gates.size());
  double mean = 0, squares = 0;
  for (const double gate : gates) mean += gate / count;
  for (const double gate : gates) squares += (gate - mean) * (gate - mean) / count;
  const double cutoff = mean + double{spec.deviations} * std::sqrt(squares);
  for (size_t i = 0; i < hidden.size(); ++i) {
    hidden[i] *= gelu_tanh_in_double(std::max(0.0, gates[i] - cutoff));
  }
  return sparse_product(weights.floats.find("ffn_down")->second, hidden);
}

// As LaurelTest's bound, with outputs of size ten.
TEST(SparseFfnTest, LetsThroughWhatIsAboveTheCutoff) {
  for (const SparseFfnSpec& spec :
       {sparse_of(64, 96, 1.644854F), sparse_of(37, 50, 0), sparse_of(32, 300, -0.5F)}) {
    MadeWeights weights(DType::kF32, {.f32 = true});
    const std::unique_ptr<Body> body = make_body(spec, weights);
    for (const int64_t rows : {1, 9}) {
      const Floats in = random_floats(rows * spec.width, 21);
      const Floats start = random_floats(rows * spec.width, 22);
      const Floats out = run_body(*body, best_isa(), in, rows, 2, ops::Store::kAdd, start);
      for (int64_t row = 0; row < rows; ++row) {
        const auto own = std::span(in).subspan(at(row * spec.width), at(spec.width));
        const std::vector<double> expected = sparse_reference(spec, weights, own);
        for (size_t k = 0; k < expected.size(); ++k) {
          const size_t i = at(row * spec.width) + k;
          ASSERT_NEAR(out[i], start[i] + expected[k], 1e-4);
        }
      }
    }
  }
}

TEST(SparseFfnTest, ARowDependsOnItselfAlone) {
  MadeWeights weights(DType::kQ8_0, {.q8 = true});
  const SparseFfnSpec spec = sparse_of(64, 128, 0.5F);
  const std::unique_ptr<Body> body = make_body(spec, weights);
  const int64_t rows = 70;
  const Floats in = random_floats(rows * spec.width, 23);
  const Floats all = run_body(*body, best_isa(), in, rows, 3, ops::Store::kSet, Floats(in.size()));
  for (int64_t row = 0; row < rows; ++row) {
    const auto first = in.begin() + row * spec.width;
    const Floats own(first, first + spec.width);
    const Floats alone =
        run_body(*body, best_isa(), own, 1, 1, ops::Store::kSet, Floats(own.size()));
    EXPECT_EQ(bits_of(alone), bits_of(std::span(all).subspan(at(row * spec.width), own.size())));
  }
}

}  // namespace
}  // namespace millrace
