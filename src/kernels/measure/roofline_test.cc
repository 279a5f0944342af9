#include "kernels/measure/roofline.h"

#include <vector>

#include <gtest/gtest.h>

#include "kernels/kernels.h"

namespace millrace {
namespace {

TEST(RooflineTest, EveryTierIsMeasured) {
  LanePool lanes(1);
  for (const Isa isa : all_isas()) {
    if (!is_supported(isa)) continue;
    const Roofline measured = RooflineProbe::create(isa, lanes).value().measure();
    EXPECT_GT(measured.int8, 0);
    EXPECT_GT(measured.int8_halves, 0);
    EXPECT_GT(measured.int8_signed, 0);
    EXPECT_GT(measured.f32, 0);
    EXPECT_GT(measured.bandwidth, 0);
    EXPECT_EQ(measured.bf16 > 0, kernels_for(isa).times_bf16 != nullptr) << name_of(isa);
  }
}

// A loop that the compiler took apart would be faster than any CPU: at most two vectors of 64 bytes
// of products at each of 6 billion cycles.
TEST(RooflineTest, LoopsDoTheirOperations) {
  LanePool lanes(1);
  const Roofline measured = RooflineProbe::create(best_isa(), lanes).value().measure();
  EXPECT_LT(measured.int8, 2 * 64 * 2 * 6e9);
  EXPECT_LT(measured.int8_signed, 2 * 64 * 2 * 6e9);
  EXPECT_LT(measured.f32, 2 * 16 * 2 * 6e9);
  EXPECT_LT(measured.bandwidth, 1e12);
}

TEST(RooflineTest, PeakIsOfTheInstructionsThatAFormatUses) {
  const Roofline roofline = {
      .int8 = 5, .int8_halves = 4, .int8_signed = 3, .bf16 = 2, .f32 = 1, .bandwidth = 6};
  EXPECT_EQ(roofline.peak_of(DType::kQ4_0, {.q8 = true}), 5);
  EXPECT_EQ(roofline.peak_of(DType::kQ6_K, {.f32 = true, .q8_k = true}), 4);
  EXPECT_EQ(roofline.peak_of(DType::kQ6_K, {.q16_k = true}), 2);
  EXPECT_EQ(roofline.peak_of(DType::kQ6_K, {.f32 = true, .q8 = true}), 1);
  EXPECT_EQ(roofline.peak_of(DType::kQ8_0, {.q8 = true}), 3);
  EXPECT_EQ(roofline.peak_of(DType::kBF16, {.bf16 = true}), 2);
  EXPECT_EQ(roofline.peak_of(DType::kBF16, {.f32 = true}), 1);
  EXPECT_EQ(roofline.peak_of(DType::kQ4_0, {.f32 = true}), 1);
}

TEST(RooflineTest, MedianIsTakenOfEachValue) {
  const std::vector<Roofline> measured = {
      {.int8 = 1, .bandwidth = 9}, {.int8 = 3, .bandwidth = 7}, {.int8 = 2, .bandwidth = 8}};
  EXPECT_EQ(median_of(measured).int8, 2);
  EXPECT_EQ(median_of(measured).bandwidth, 8);
}

}  // namespace
}  // namespace millrace
