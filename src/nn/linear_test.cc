#include "nn/linear.h"

#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fixtures/nn/made_weights.h"

namespace millrace {
namespace {

constexpr int64_t kLinearWidth = 64;
constexpr int64_t kLinearRows = 5;

struct FormsOf {
  DType format;
  ActivationForms exact;
  ActivationForms compact;
};

const FormsOf kFormsOf[] = {{DType::kQ8_0, {.q16 = true}, {.q8 = true}},
                            {DType::kBF16, {.f32 = true}, {.bf16 = true}}};

Floats linear_product(const Linear& linear, const Floats& in, ActivationForms forms,
                      int64_t columns) {
  const Placed placed = converted(best_isa(), forms, in, kLinearRows);
  Floats out(at(kLinearRows * columns));
  LanePool(2).run([&](Lane& lane) {
    linear.forward(lane, CpuOps(kernels_for(best_isa())), placed.view, ops::Store::kSet,
                   rows_of(out, kLinearRows));
  });
  return out;
}

// Columns [begin, end) of each row.
Floats some_columns(const Floats& rows, int64_t begin, int64_t end) {
  const int64_t width = std::ssize(rows) / kLinearRows;
  Floats part;
  for (int64_t row = 0; row < kLinearRows; ++row) {
    part.insert(part.end(), rows.begin() + row * width + begin, rows.begin() + row * width + end);
  }
  return part;
}

TEST(Linear, ReadsItsOwnFormWhereItsInputHasOthers) {
  const Floats in = random_floats(kLinearRows * kLinearWidth, 5);
  for (const auto& [format, exact, compact] : kFormsOf) {
    if (format == DType::kBF16 && kernels_for(best_isa()).times_bf16 == nullptr) continue;
    MadeWeights weights(format, exact, compact);
    Linear linear;
    const MatrixOrder order = {"m", 24, kLinearWidth};
    ASSERT_TRUE(linear.load(weights, order, InputForm::kExact).ok());
    ASSERT_EQ(linear.input_forms(), exact);
    ActivationForms both = exact;
    both |= compact;
    const Floats out = linear_product(linear, in, both, 24);
    EXPECT_EQ(bits_of(out), bits_of(linear_product(linear, in, exact, 24))) << info_of(format).name;

    Linear small;
    ASSERT_TRUE(small.load_tied(linear, weights, InputForm::kCompact).ok());
    const Floats rounded = linear_product(small, in, both, 24);
    EXPECT_EQ(bits_of(rounded), bits_of(linear_product(small, in, compact, 24)))
        << info_of(format).name;
    EXPECT_NE(bits_of(rounded), bits_of(out)) << info_of(format).name;
  }
}

// Which columns read kCompact input.
struct GateCase {
  GateRows gates;
  std::vector<int64_t> rows;  // of each matrix
  int64_t begin, end;
};

const GateCase kGateCases[] = {
    {{0, 32}, {80}, 0, 32},           // the first rows
    {{48, 40}, {88}, 48, 88},         // the last ones, up to the end of a panel that is not full
    {{16, 32}, {80}, 16, 48},         // between others
    {{0, 40}, {80}, 0, 32},           // a panel is shared at the end
    {{40, 40}, {80}, 48, 80},         // and at the beginning
    {{33, 12}, {80}, 0, 0},           // all of it is in a shared panel
    {{0, 0}, {80}, 0, 0},             // none
    {{32, 48}, {32, 48}, 32, 80},     // a matrix of a stack
    {{24, 40}, {24, 40, 8}, 24, 64},  // where matrices are apart
};

TEST(Linear, ReadsCompactInputForGatesAlone) {
  const Floats in = random_floats(kLinearRows * kLinearWidth, 6);
  const auto& [format, exact, compact] = kFormsOf[0];
  for (const GateCase& one : kGateCases) {
    SCOPED_TRACE(one.begin);
    MadeWeights weights(format, exact, compact);
    std::vector<MatrixOrder> orders;
    int64_t rows = 0;
    for (const int64_t of_matrix : one.rows) {
      constexpr std::string_view kNames[] = {"a", "b", "c"};
      orders.push_back({kNames[orders.size()], of_matrix, kLinearWidth});
      rows += of_matrix;
    }
    const VectorOrder bias = {"bias", rows};
    Linear linear;
    ASSERT_TRUE(linear.load(weights, orders, InputForm::kExact, {&bias, 1}, one.gates).ok());
    ActivationForms forms = exact;
    if (one.end > one.begin) forms |= compact;
    ASSERT_EQ(linear.input_forms(), forms);
    Linear whole, small;
    ASSERT_TRUE(whole.load_tied(linear, weights, InputForm::kExact).ok());
    ASSERT_TRUE(small.load_tied(linear, weights, InputForm::kCompact).ok());
    const auto add_bias = [&](Floats out) {
      for (size_t i = 0; i < out.size(); ++i) out[i] += linear.bias()[i % at(rows)];
      return out;
    };
    const Floats out = linear_product(linear, in, forms, rows);
    const Floats of_exact = add_bias(linear_product(whole, in, exact, rows));
    const Floats of_compact = add_bias(linear_product(small, in, compact, rows));
    EXPECT_EQ(bits_of(some_columns(out, 0, one.begin)),
              bits_of(some_columns(of_exact, 0, one.begin)));
    EXPECT_EQ(bits_of(some_columns(out, one.begin, one.end)),
              bits_of(some_columns(of_compact, one.begin, one.end)));
    EXPECT_EQ(bits_of(some_columns(out, one.end, rows)),
              bits_of(some_columns(of_exact, one.end, rows)));
  }
}

}  // namespace
}  // namespace millrace
