#include "kernels/isa.h"

#include <gtest/gtest.h>

#include "tests/fixtures/kernels/op_cases.h"

namespace millrace {
namespace {

TEST(IsaTest, IsFoundByName) {
  for (const Isa isa : all_isas()) {
    if (!is_supported(isa)) continue;
    EXPECT_EQ(isa_named(name_of(isa)).value(), isa);
  }
  EXPECT_TRUE(is_supported(best_isa()));
  EXPECT_EQ(isa_named("sse9").status().code(), absl::StatusCode::kInvalidArgument);
  if (!is_supported(Isa::kAvx512)) {
    EXPECT_EQ(isa_named("avx512").status().code(), absl::StatusCode::kInvalidArgument);
  }
}

// A tier and its portable twin run the same operations. Outputs of products keep to their lanes, so
// there even the two widths agree.
class TwinTest : public testing::TestWithParam<std::pair<Isa, Isa>> {};

TEST_P(TwinTest, AgreesBitForBit) {
  const Isa tier = GetParam().first;
  const Isa twin = GetParam().second;
  if (!is_supported(tier)) GTEST_SKIP() << "this CPU has no " << name_of(tier);
  for (const DTypeInfo& info : kDTypes) {
    const int64_t width = std::max(info.block_elements, 96);
    const PackedCase weights = random_weights(info.type, 33, width, 18);
    const PackedCase up = random_weights(info.type, 33, width, 19);
    const Floats in = random_floats(7 * width, 20, 2);
    for (const ActivationForms forms : forms_of(tier, info.type)) {
      if (forms.bf16 && kernels_for(twin).times_bf16 == nullptr) continue;
      EXPECT_EQ(bits_of(linear(tier, weights, forms, in, 7)),
                bits_of(linear(twin, weights, forms, in, 7)))
          << info.name << " " << name_of(forms);
      Floats hidden[2];
      for (int i = 0; i < 2; ++i) {
        const Isa isa = i == 0 ? tier : twin;
        const Placed placed = converted(isa, forms, in, 7);
        const Placed out = place({.f32 = true}, 7, 33);
        LanePool(1).run([&](Lane& lane) {
          CpuOps(kernels_for(isa))
              .hidden(lane, {.gate = &weights.packed, .up = &up.packed}, placed.view, out.view);
        });
        hidden[i].assign(out.view.f32, out.view.f32 + 7 * 33);
      }
      EXPECT_EQ(bits_of(hidden[0]), bits_of(hidden[1])) << info.name;
    }
  }
}

// Sums over lanes agree only where lanes are as many.
class RowTwinTest : public TwinTest {};

// What a row's norms and sums come to.
Floats on_rows(Isa isa, const ops::Norm& norm) {
  constexpr int64_t kRows = 3;
  constexpr int64_t kWidth = 1100;
  const CpuOps ops(kernels_for(isa));
  Floats in = random_floats(kRows * kWidth, 21, 30);
  const Placed normed = place({.f32 = true}, kRows, kWidth);
  Floats added = random_floats(kRows * kWidth, 23);
  LanePool(1).run([&](Lane& lane) {
    ops.norm(lane, rows_of(in, kRows), norm, normed.view);
    ops.add(lane, rows_of(in, kRows), &norm, 0.3F, rows_of(added, kRows));
    ops.norm_in_place(lane, rows_of(in, kRows), norm);
    ops.scale(lane, rows_of(in, kRows), 1.5F, 2);
  });
  Floats all(normed.view.f32, normed.view.f32 + kRows * kWidth);
  all.insert(all.end(), added.begin(), added.end());
  all.insert(all.end(), in.begin(), in.end());
  return all;
}

TEST_P(RowTwinTest, AgreesBitForBit) {
  const auto [tier, twin] = GetParam();
  if (!is_supported(tier)) GTEST_SKIP() << "this CPU has no " << name_of(tier);
  const Floats weight = random_floats(1100, 22);
  const Floats bias = random_floats(1100, 24);
  for (const auto kind : {ops::Norm::Kind::kRms, ops::Norm::Kind::kLayer}) {
    for (const bool plain : {true, false}) {
      ops::Norm norm = {.kind = kind, .epsilon = 1e-6F};
      if (!plain) norm.weight = weight;
      if (!plain) norm.bias = bias;
      EXPECT_EQ(bits_of(on_rows(tier, norm)), bits_of(on_rows(twin, norm)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, RowTwinTest,
                         testing::Values(std::pair{Isa::kAvx2, Isa::kPortable8},
                                         std::pair{Isa::kAvx512, Isa::kPortable16},
                                         std::pair{Isa::kAvx512Bf16, Isa::kPortable16}));

INSTANTIATE_TEST_SUITE_P(Every, TwinTest,
                         testing::Values(std::pair{Isa::kAvx2, Isa::kPortable8},
                                         std::pair{Isa::kAvx512, Isa::kPortable16},
                                         std::pair{Isa::kAvx512Bf16, Isa::kPortable16},
                                         std::pair{Isa::kPortable16, Isa::kPortable8}));

}  // namespace
}  // namespace millrace
