#include "kernels/ops.h"

#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "tests/fixtures/kernels/op_cases.h"

// One table: instruction set x format x form of the activations x odd shapes, each against plain
// loops in double.

namespace millrace {
namespace {

// Every code at one end of its range, scales of one.
PackedCase extreme_weights(DType type, int64_t rows, int64_t width, uint8_t code_byte) {
  std::vector<std::byte> blocks(at(rows * row_bytes(type, width)), std::byte{code_byte});
  visit_format(type, [&]<typename Block>(std::type_identity<Block>) {
    for (size_t i = 0; i < blocks.size(); i += sizeof(Block)) {
      auto block = load_block<Block>(blocks.data() + i);
      if constexpr (requires { block.e; }) block.e = 127;
      if constexpr (requires { block.d; }) block.d = f16_of_f32(1);
      if constexpr (requires { block.m; }) block.m = f16_of_f32(-3);
      if constexpr (requires { block.dmin; }) block.dmin = f16_of_f32(0.5F);
      if constexpr (Block::kElements == 1) {
        const float value = code_byte == 0 ? 3.0F : -65504.0F;
        block = Block::pack(&value);
      }
      std::memcpy(blocks.data() + i, &block, sizeof block);
    }
  });
  return weights_of(type, rows, width, blocks);
}

// With q8 activations an output is two roundings of the scales and one or two of the accumulator
// for each block of 32; with q8_k one of the sum, one of the scales and one of the accumulator for
// each block of 256, and as many of the minimums; with float activations one for each k and one of
// a 6-bit weight. Each is at most kRounding times the largest partial sum, which is at most the sum
// of the terms' magnitudes; the terms are code times scale and minimum apart.
void expect_product(const PackedCase& weights, const Floats& in, const ActivationForms& forms,
                    const Floats& out, const std::string& what) {
  const int64_t width = weights.width;
  const int64_t rows = std::ssize(in) / width;
  const auto roundings = static_cast<double>(forms.q8      ? width / 32 * 2 + 4
                                             : forms.q16   ? width / 32 * 4 + 4
                                             : forms.q8_k  ? width / 256 * 2 + 4
                                             : forms.q16_k ? width / 256 * 4 + 4
                                                           : width + 2);
  const Floats seen = as_seen(in, forms);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t o = 0; o < weights.rows; ++o) {
      double expected = 0;
      double magnitude = 0;
      for (int64_t k = 0; k < width; ++k) {
        const double x = seen[at(row * width + k)];
        const double w = weights.values[at(o * width + k)];
        const double base = weights.bases[at(o * width + k)];
        expected += w * x;
        magnitude += (std::fabs(w - base) + std::fabs(base)) * std::fabs(x);
      }
      const double bound = roundings * kRounding * magnitude + kUnderflow;
      ASSERT_NEAR(out[at(row * weights.rows + o)], expected, bound)
          << what << ", " << name_of(forms) << ", row " << row << ", output " << o;
    }
  }
}

struct Shape {
  int64_t rows, outputs, width;
};

std::vector<Shape> shapes_of(DType type) {
  const int64_t block = info_of(type).block_elements;
  if (block == 256) return {{1, 1, 256}, {4, 17, 768}, {5, 100, 256}, {17, 16, 512}, {70, 15, 256}};
  if (block == 1) {
    return {{1, 1, 1},   {1, 100, 33}, {2, 15, 7},   {3, 16, 130},
            {4, 17, 64}, {5, 100, 31}, {70, 15, 33}, {12, 17, 601}};
  }
  return {{1, 1, 32},   {1, 100, 1056}, {2, 15, 96},  {3, 16, 1056}, {4, 17, 96},
          {5, 100, 96}, {16, 17, 32},   {17, 16, 96}, {33, 15, 160}, {70, 100, 96}};
}

class OpsTest : public testing::TestWithParam<std::tuple<Isa, DTypeInfo>> {
 protected:
  const Isa isa_ = std::get<0>(GetParam());
  const DType type_ = std::get<1>(GetParam()).type;
};

TEST_P(OpsTest, LinearIsTheProduct) {
  for (const Shape& shape : shapes_of(type_)) {
    const PackedCase weights = random_weights(type_, shape.outputs, shape.width, 1);
    const Floats in = random_floats(shape.rows * shape.width, 2);
    for (const ActivationForms forms : forms_of(isa_, type_)) {
      const Floats out = linear(isa_, weights, forms, in, shape.rows);
      expect_product(weights, in, forms, out, fmt::format("{} rows", shape.rows));
    }
  }
}

TEST_P(OpsTest, LinearDoesNotDependOnNeighboursOrLanes) {
  const int64_t width = info_of(type_).block_elements == 1 ? 45 : 256;
  const int64_t rows = 71;
  const PackedCase weights = random_weights(type_, 50, width, 3);
  const Floats in = random_floats(rows * width, 4);
  for (const ActivationForms forms : forms_of(isa_, type_)) {
    const Floats all = linear(isa_, weights, forms, in, rows);
    for (const int lanes : {2, 3, 4}) {
      EXPECT_EQ(bits_of(linear(isa_, weights, forms, in, rows, lanes)), bits_of(all)) << lanes;
    }
    for (const auto& [first, count] : {std::pair{0, 1}, {7, 2}, {30, 3}, {60, 4}, {11, 33}}) {
      const Floats part(in.begin() + first * width, in.begin() + (first + count) * width);
      const Floats out = linear(isa_, weights, forms, part, count);
      EXPECT_EQ(bits_of(out), bits_of({all.data() + first * 50, at(count * 50)})) << first;
    }
  }
}

TEST_P(OpsTest, LinearAddsBiasAndResidual) {
  const int64_t width = std::max(info_of(type_).block_elements, 32);
  const PackedCase weights = random_weights(type_, 37, width, 5);
  const Floats in = random_floats(3 * width, 6);
  const Floats bias = random_floats(37, 7);
  const Floats residual = random_floats(3 * 37, 8);
  const ActivationForms forms{.f32 = true};
  const Floats plain = linear(isa_, weights, forms, in, 3);
  const Placed placed = converted(isa_, forms, in, 3);
  Floats out = residual;
  LanePool(1).run([&](Lane& lane) {
    CpuOps(kernels_for(isa_))
        .linear(lane, weights.packed, placed.view, bias, ops::Store::kAdd, rows_of(out, 3));
  });
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(out[i], residual[i] + (plain[i] + bias[i % 37]));
  }
}

TEST_P(OpsTest, ExtremeCodesAndActivationsDoNotSaturate) {
  const int64_t width = std::max(info_of(type_).block_elements, 64);
  for (const uint8_t code_byte : std::vector<uint8_t>{0x00, 0x80, 0x77, 0x7f, 0xff}) {
    const PackedCase weights = extreme_weights(type_, 16, width, code_byte);
    for (const int pattern : {0, 1, 2}) {
      Floats in(at(5 * width));
      for (size_t i = 0; i < in.size(); ++i) {
        in[i] = pattern == 0 || (pattern == 1 && i % 2 == 0) ? 1.0F : -1.0F;
      }
      for (const ActivationForms forms : forms_of(isa_, type_)) {
        const Floats out = linear(isa_, weights, forms, in, 5);
        expect_product(weights, in, forms, out, fmt::format("codes {}", code_byte));
      }
    }
  }
}

TEST_P(OpsTest, RowsThatAreNotFiniteHarmNoOther) {
  const int64_t width = std::max(info_of(type_).block_elements, 64);
  const PackedCase weights = random_weights(type_, 20, width, 9);
  Floats in = random_floats(6 * width, 10);
  for (const ActivationForms forms : forms_of(isa_, type_)) {
    const Floats clean = linear(isa_, weights, forms, in, 6);
    Floats dirty_in = in;
    dirty_in[at(width + 3)] = std::numeric_limits<float>::quiet_NaN();
    dirty_in[at(4 * width + 40)] = std::numeric_limits<float>::infinity();
    std::fill_n(dirty_in.begin() + 5 * width, width, 0.0F);
    const Floats dirty = linear(isa_, weights, forms, dirty_in, 6);
    for (int64_t o = 0; o < 20; ++o) {
      for (const int64_t row : {0, 2, 3}) {
        EXPECT_EQ(dirty[at(row * 20 + o)], clean[at(row * 20 + o)]);
      }
      EXPECT_TRUE(std::isnan(dirty[at(20 + o)]));
      EXPECT_FALSE(std::isfinite(dirty[at(4 * 20 + o)]));
      EXPECT_EQ(dirty[at(5 * 20 + o)], 0);
    }
  }
}

// The exponential is good to 4 roundings (its argument to one, the polynomial to two, the scaling
// to none), then come a sum, a quotient and a product.
TEST_P(OpsTest, HiddenIsSwiglu) {
  const bool whole_blocks = is_quantised(type_);
  const int64_t width = whole_blocks ? 256 : 19;
  for (const int64_t hidden : {whole_blocks ? 96 : 50, 32, 160, 512}) {
    const PackedCase gate = random_weights(type_, hidden, width, 11);
    const PackedCase up = random_weights(type_, hidden, width, 12);
    for (const int64_t rows : {1, 3, 67}) {
      const Floats in = random_floats(rows * width, 13, rows == 1 ? 20.0F : 1.0F);
      for (const ActivationForms forms : forms_of(isa_, type_)) {
        const Placed placed = converted(isa_, forms, in, rows);
        const Placed out = place(all_forms(hidden), rows, hidden);
        const int lanes = static_cast<int>(rows % 4) + 1;
        LanePool(lanes).run([&](Lane& lane) {
          CpuOps(kernels_for(isa_))
              .hidden(lane, {.gate = &gate.packed, .up = &up.packed}, placed.view, out.view);
        });
        const Floats gates = linear(isa_, gate, forms, in, rows);
        const Floats ups = linear(isa_, up, forms, in, rows);
        for (size_t i = 0; i < gates.size(); ++i) {
          const double expected = gates[i] / (1 + std::exp(-double{gates[i]})) * ups[i];
          const double lost = 4e-37 * std::fabs(ups[i]) + kUnderflow;
          const double bound = 8 * kRounding * std::fabs(expected) + lost;
          ASSERT_NEAR(out.view.f32[i], expected, bound);
        }
        EXPECT_TRUE(forms_agree(isa_, out.view));
      }
    }
  }
}

TEST_P(OpsTest, EmbedGivesRowsOfTheTable) {
  const int64_t width = std::max(info_of(type_).block_elements, 32);
  const PackedCase table = random_weights(type_, 40, width, 14);
  const std::vector<TokenId> tokens = {39, 0, 17, 17, 16};
  Floats out(tokens.size() * at(width));
  LanePool(2).run([&](Lane& lane) {
    CpuOps(kernels_for(isa_)).embed(lane, table.packed, tokens, rows_of(out, 5));
  });
  for (size_t i = 0; i < tokens.size(); ++i) {
    for (int64_t k = 0; k < width; ++k) {
      EXPECT_EQ(out[i * at(width) + at(k)], table.values[at(tokens[i] * width + k)]);
    }
  }
}

TEST_P(OpsTest, AddRowsAddsRowsOfTheTable) {
  const int64_t width = info_of(type_).block_elements == 1 ? 301 : 512;
  const PackedCase table = random_weights(type_, 40, width, 15);
  const std::vector<int32_t> indices = {39, 0, 17, 17, 16};
  const Floats start = random_floats(5 * width, 16);
  Floats out = start;
  LanePool(2).run([&](Lane& lane) {
    CpuOps(kernels_for(isa_)).add_rows(lane, table.packed, indices, rows_of(out, 5));
  });
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t row = indices[i / at(width)];
    EXPECT_EQ(out[i], start[i] + table.values[at(row * width) + i % at(width)]);
  }
}

std::string isa_and_format(const testing::TestParamInfo<std::tuple<Isa, DTypeInfo>>& test) {
  return fmt::format("{}_{}", name_of(std::get<0>(test.param)), std::get<1>(test.param).name);
}

INSTANTIATE_TEST_SUITE_P(Every, OpsTest,
                         testing::Combine(testing::ValuesIn(supported_isas()),
                                          testing::ValuesIn(kDTypes)),
                         isa_and_format);

}  // namespace
}  // namespace millrace
