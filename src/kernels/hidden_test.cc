#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fixtures/kernels/op_cases.h"

// Every function of a hidden layer on exact inputs: an input of one and weights of width 1 make the
// products the weights themselves.

namespace millrace {
namespace {

using Kind = ActivationFunction::Kind;

constexpr ActivationFunction kFunctions[] = {
    {.kind = Kind::kSilu},
    {.kind = Kind::kGelu},
    {.kind = Kind::kGeluTanh},
    {.kind = Kind::kGeluQuick},
    {.kind = Kind::kRelu},
    {.kind = Kind::kReluSquared},
    {.kind = Kind::kClampedSwiglu, .alpha = 1.702F, .limit = 7},
    {.kind = Kind::kXielu, .positive = 0.8F, .negative = 0.3F, .beta = 0.5F, .epsilon = -1e-6F},
};

struct Bounded {
  double value;
  double bound;
};

// x * sigmoid(y), y good to `roundings`: e^-y is good to 4 and what y has lost, then come a sum and
// a quotient.
Bounded times_sigmoid(double x, double y, double roundings) {
  const double value = x / (1 + std::exp(-y));
  return {value, (8 + roundings * std::fabs(y)) * kRounding * std::fabs(value)};
}

// The polynomial of kGelu is good to 12 roundings, and e^(-x^2 / 2) to two of its argument.
Bounded activated(const ActivationFunction& function, double x) {
  const double relu = x > 0 ? x : 0;
  switch (function.kind) {
    case Kind::kSilu:
      return times_sigmoid(x, x, 0);
    case Kind::kGelu: {
      const double value = x * 0.5 * std::erfc(-x * std::sqrt(0.5));
      return {value, (16 + x * x) * kRounding * std::fabs(value)};
    }
    case Kind::kGeluTanh:
      return times_sigmoid(x, 2 * std::sqrt(2 / M_PI) * (x + 0.044715 * std::pow(x, 3)), 6);
    case Kind::kGeluQuick:
      return times_sigmoid(x, 1.702 * x, 2);
    case Kind::kRelu:
      return {relu, 0};
    case Kind::kReluSquared:
      return {relu * relu, kRounding * relu * relu};
    case Kind::kXielu: {
      if (x > 0) {
        const double value = function.positive * x * x + function.beta * x;
        return {value, 4 * kRounding * value};
      }
      const double alpha = double{function.negative} + function.beta;
      const double raised = std::expm1(std::min(x, double{function.epsilon}));
      const double terms = alpha * (std::fabs(raised) + std::fabs(x)) - function.beta * x;
      return {alpha * (raised - x) + function.beta * x, 8 * kRounding * terms};
    }
    case Kind::kClampedSwiglu:
      break;
  }
  return {NAN, NAN};
}

// gate: null where there is none.
Bounded hidden_of(const ActivationFunction& function, const float* gate, float up) {
  if (gate == nullptr) return activated(function, up);
  Bounded left = activated(function, *gate);
  double right = up;
  if (function.kind == Kind::kClampedSwiglu) {
    const double g = std::min(*gate, function.limit);
    left = times_sigmoid(g, function.alpha * g, 1);
    right = std::min(std::max(double{up}, -double{function.limit}), double{function.limit}) + 1;
  }
  const double value = left.value * right;
  return {value, left.bound * std::fabs(right) + 2 * kRounding * std::fabs(value)};
}

// Small and large ones of both signs, and many between.
Floats inputs() {
  Floats values = {0.0F, -0.0F, 1e-30F, -1e-30F, -1e-6F, -5e-7F, 7.0F, -7.0F, 7.5F, -7.5F};
  for (float x = 1e-6F; x < 80; x *= 1.9F) values.insert(values.end(), {x, -x});
  const Floats more = random_floats(200, 31, 4);
  values.insert(values.end(), more.begin(), more.end());
  values.resize(values.size() / 32 * 32);
  return values;
}

PackedCase column_of(const Floats& values) {
  const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
  return weights_of(DType::kF32, std::ssize(values), 1,
                    {bytes, bytes + values.size() * sizeof(float)});
}

class HiddenTest : public testing::TestWithParam<Isa> {
 protected:
  // In all forms, of `rows` equal rows.
  static Placed run(Isa isa, const ops::Hidden& hidden, int64_t rows, int lanes = 1) {
    const Placed in = converted(isa, {.f32 = true}, Floats(at(rows), 1.0F), rows);
    Placed out = place(all_forms(hidden.up->rows()), rows, hidden.up->rows());
    LanePool(lanes).run(
        [&](Lane& lane) { CpuOps(kernels_for(isa)).hidden(lane, hidden, in.view, out.view); });
    return out;
  }
  static Floats f32_of(const Placed& placed) {
    return {placed.view.f32, placed.view.f32 + placed.view.rows * placed.view.width};
  }
};

TEST_P(HiddenTest, FunctionsAreWhatTheirDefinitionsSay) {
  const Floats gates = inputs();
  const Floats ups = random_floats(std::ssize(gates), 32, 5);
  const PackedCase gate = column_of(gates);
  const PackedCase up = column_of(ups);
  for (const ActivationFunction& function : kFunctions) {
    for (const bool gated : {false, true}) {
      if (!gated && function.kind == Kind::kClampedSwiglu) continue;
      const ops::Hidden hidden = {.gate = gated ? &gate.packed : nullptr,
                                  .up = gated ? &up.packed : &gate.packed,
                                  .function = function};
      const Placed out = run(GetParam(), hidden, 3, 2);
      for (size_t i = 0; i < gates.size(); ++i) {
        const Bounded expected =
            gated ? hidden_of(function, &gates[i], ups[i]) : hidden_of(function, nullptr, gates[i]);
        for (size_t row = 0; row < 3; ++row) {
          ASSERT_NEAR(out.view.f32[row * gates.size() + i], expected.value, expected.bound + 1e-35)
              << "function " << static_cast<int>(function.kind) << " of " << gates[i];
        }
      }
      EXPECT_TRUE(forms_agree(GetParam(), out.view));
    }
  }
}

// A bias is added to the product before the function; also at the end of a panel that is not full.
TEST_P(HiddenTest, BiasesAreAddedToTheProducts) {
  for (const int64_t width : {1, 15, 16, 17, 40, 96}) {
    const Floats gates = random_floats(width, 33);
    const Floats ups = random_floats(width, 34);
    const Floats gate_bias = random_floats(width, 35);
    const Floats up_bias = random_floats(width, 36);
    Floats gate_sums = gates;
    Floats up_sums = ups;
    for (size_t i = 0; i < gates.size(); ++i) {
      gate_sums[i] += gate_bias[i];
      up_sums[i] += up_bias[i];
    }
    const PackedCase gate = column_of(gates);
    const PackedCase up = column_of(ups);
    const PackedCase gate_sum = column_of(gate_sums);
    const PackedCase up_sum = column_of(up_sums);
    for (const ActivationFunction& function : kFunctions) {
      const Placed biased = run(GetParam(),
                                {.gate = &gate.packed,
                                 .up = &up.packed,
                                 .gate_bias = gate_bias,
                                 .up_bias = up_bias,
                                 .function = function},
                                67);
      const Placed plain = run(
          GetParam(), {.gate = &gate_sum.packed, .up = &up_sum.packed, .function = function}, 67);
      EXPECT_EQ(f32_of(biased), f32_of(plain)) << width;
      if (function.kind == Kind::kClampedSwiglu) continue;
      const Placed alone =
          run(GetParam(), {.up = &up.packed, .up_bias = up_bias, .function = function}, 67);
      const Placed alone_plain = run(GetParam(), {.up = &up_sum.packed, .function = function}, 67);
      EXPECT_EQ(f32_of(alone), f32_of(alone_plain)) << width;
    }
  }
}

TEST_P(HiddenTest, WhatIsNotANumberStaysNone) {
  Floats values(64, 1.0F);
  values[3] = std::numeric_limits<float>::quiet_NaN();
  const Floats ones(64, 1.0F);
  for (const ActivationFunction& function : kFunctions) {
    const PackedCase plain = column_of(ones);
    for (const bool in_gate : {true, false}) {
      const Placed out = run(GetParam(),
                             {.gate = &plain.packed,
                              .up = &plain.packed,
                              .gate_bias = in_gate ? values : Floats(),
                              .up_bias = in_gate ? Floats() : values,
                              .function = function},
                             1);
      for (int64_t i = 0; i < 64; ++i) EXPECT_EQ(std::isnan(out.view.f32[i]), i == 3);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, HiddenTest, testing::ValuesIn(supported_isas()),
                         [](const auto& test) { return std::string(name_of(test.param)); });

// The functions keep to their lanes, so that even two widths agree.
TEST(HiddenTwinTest, TiersAgreeBitForBit) {
  const Floats gates = inputs();
  const Floats ups = random_floats(std::ssize(gates), 32, 5);
  const Floats biases = random_floats(std::ssize(gates), 37);
  const PackedCase gate = column_of(gates);
  const PackedCase up = column_of(ups);
  for (const ActivationFunction& function : kFunctions) {
    const ops::Hidden hidden = {.gate = &gate.packed,
                                .up = &up.packed,
                                .gate_bias = biases,
                                .up_bias = biases,
                                .function = function};
    std::vector<uint32_t> first;
    for (const Isa isa : supported_isas()) {
      if (isa == Isa::kScalar) continue;
      const Placed in = converted(isa, {.f32 = true}, {1.0F}, 1);
      const Placed out = place({.f32 = true}, 1, std::ssize(gates));
      LanePool(1).run(
          [&](Lane& lane) { CpuOps(kernels_for(isa)).hidden(lane, hidden, in.view, out.view); });
      const auto bits = bits_of({out.view.f32, gates.size()});
      if (first.empty()) first = bits;
      EXPECT_EQ(bits, first) << name_of(isa) << static_cast<int>(function.kind);
    }
  }
}

}  // namespace
}  // namespace millrace
