#include "nn/residual/laurel.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fixtures/nn/body_runs.h"

namespace millrace {
namespace {

LaurelSpec laurel_of(int64_t width, int64_t rank) {
  return {.width = width,
          .rank = rank,
          .norm = {.kind = NormSpec::Kind::kRms, .name = "laurel_post_norm", .epsilon = 1e-3F}};
}

std::vector<double> laurel_reference(const LaurelSpec& spec, const MadeWeights& weights,
                                     std::span<const float> in) {
  const Floats& left = weights.floats.find("laurel_l")->second;
  const Floats& right = weights.floats.find("laurel_r")->second;
  const Floats& norm = weights.floats.find("laurel_post_norm.weight")->second;
  std::vector<double> low(at(spec.rank)), out(at(spec.width));
  for (size_t r = 0; r < low.size(); ++r) {
    for (size_t k = 0; k < in.size(); ++k) low[r] += double{left[r * in.size() + k]} * in[k];
  }
  double squares = 0;
  for (size_t k = 0; k < out.size(); ++k) {
    for (size_t r = 0; r < low.size(); ++r) out[k] += right[k * low.size() + r] * low[r];
    squares += out[k] * out[k] / static_cast<double>(out.size());
  }
  for (size_t k = 0; k < out.size(); ++k) {
    out[k] = in[k] + out[k] / std::sqrt(squares + double{spec.norm.epsilon}) * norm[k];
  }
  return out;
}

// Values are of size one, of products of a hundred terms: 1e-5 is a few hundred roundings.
TEST(LaurelTest, IsTheInputAndItsNormedProjection) {
  for (const LaurelSpec& spec : {laurel_of(64, 8), laurel_of(37, 5), laurel_of(96, 64)}) {
    MadeWeights weights(DType::kF32, {.f32 = true});
    const std::unique_ptr<Body> body = make_body(spec, weights);
    for (const int64_t rows : {1, 9}) {
      const Floats in = random_floats(rows * spec.width, 21);
      const Floats start = random_floats(rows * spec.width, 22);
      const Floats set = run_body(*body, best_isa(), in, rows, 2, ops::Store::kSet, start);
      const Floats added = run_body(*body, best_isa(), in, rows, 2, ops::Store::kAdd, start);
      for (int64_t row = 0; row < rows; ++row) {
        const auto own = std::span(in).subspan(at(row * spec.width), at(spec.width));
        const std::vector<double> expected = laurel_reference(spec, weights, own);
        for (size_t k = 0; k < expected.size(); ++k) {
          const size_t i = at(row * spec.width) + k;
          ASSERT_NEAR(set[i], expected[k], 1e-5);
          ASSERT_NEAR(added[i], start[i] + expected[k], 1e-5);
        }
      }
    }
  }
}

TEST(LaurelTest, ARowDependsOnItselfAlone) {
  MadeWeights weights(DType::kQ8_0, {.q8 = true});
  const LaurelSpec spec = laurel_of(96, 32);
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
