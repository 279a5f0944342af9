#include "quant/format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "quant/formats.h"

namespace millrace {
namespace {

// Normal values by Box and Muller, the same on every run.
std::vector<float> normal_values(int64_t count, float deviation) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) {
    const auto bits = philox({1, 2}, {static_cast<uint32_t>(i), 0, 0, 0});
    const float radius = std::sqrt(-2 * std::log(1 - uniform_float(bits[0])));
    values.push_back(deviation * radius * std::cos(6.2831853F * uniform_float(bits[1])));
  }
  return values;
}

std::vector<float> through(DType type, const std::vector<float>& in) {
  const auto elements = static_cast<int64_t>(in.size());
  std::vector<std::byte> blocks(static_cast<size_t>(row_bytes(type, elements)) + 1);
  std::vector<float> out(in.size());
  pack_row(type, in.data(), elements, blocks.data() + 1);  // unaligned
  unpack_row(type, blocks.data() + 1, elements, out.data());
  return out;
}

double rmse(std::span<const float> a, std::span<const float> b) {
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i) squares += std::pow(double{a[i]} - double{b[i]}, 2);
  return std::sqrt(squares / static_cast<double>(a.size()));
}

// What formats with one float32 range for each `group` elements, and nothing else, would do.
std::vector<float> naive_affine(const std::vector<float>& in, size_t group, int top) {
  std::vector<float> out;
  for (size_t begin = 0; begin < in.size(); begin += group) {
    const auto [min, max] = bounds_of({in.data() + begin, group});
    const float step = (max - min) / static_cast<float>(top);
    for (size_t i = begin; i < begin + group; ++i) {
      out.push_back(min + step * std::round((in[i] - min) / step));
    }
  }
  return out;
}

std::vector<float> naive_symmetric(const std::vector<float>& in, size_t group, int top) {
  std::vector<float> out;
  for (size_t begin = 0; begin < in.size(); begin += group) {
    const float step = std::fabs(extreme_of({in.data() + begin, group})) / static_cast<float>(top);
    for (size_t i = begin; i < begin + group; ++i) out.push_back(step * std::round(in[i] / step));
  }
  return out;
}

template <typename Block>
std::vector<float> unpacked(const Block& block) {
  std::vector<float> out(Block::kElements);
  block.unpack(out.data());
  return out;
}

constexpr uint16_t kOne = 0x3c00;   // 1.0 in f16
constexpr uint16_t kHalf = 0x3800;  // 0.5 in f16

TEST(Format, FloatsKeepWhatTheyCanHold) {
  const std::vector<float> in = {0.0F, -0.0F, 1.0F, -2.5F, 0.099975586F, 65504.0F};
  EXPECT_EQ(through(DType::kF32, in), in);
  EXPECT_EQ(through(DType::kF16, in), in);
  const std::vector<float> coarse = through(DType::kBF16, {1.00390625F, 3.0F, -1e30F});
  EXPECT_EQ(coarse[0], 1.0F);  // a tie, to even
  EXPECT_EQ(coarse[1], 3.0F);
  EXPECT_NEAR(coarse[2], -1e30F, 1e30F / 256);
}

TEST(Format, NibblesOfSmallBlocks) {
  BlockQ4_0 q4_0{kHalf, {}};
  q4_0.qs[3] = 0xf1;
  EXPECT_EQ(unpacked(q4_0)[3], 0.5F * (1 - 8));
  EXPECT_EQ(unpacked(q4_0)[19], 0.5F * (15 - 8));
  EXPECT_EQ(unpacked(q4_0)[0], -4.0F);

  BlockQ4_1 q4_1{kHalf, kOne, {}};
  q4_1.qs[15] = 0x2f;
  EXPECT_EQ(unpacked(q4_1)[15], 8.5F);
  EXPECT_EQ(unpacked(q4_1)[31], 2.0F);
  EXPECT_EQ(unpacked(q4_1)[0], 1.0F);
}

TEST(Format, FifthBits) {
  BlockQ5_0 q5_0{kOne, {}, {}};
  q5_0.qs[4] = 0x93;
  q5_0.qh[0] = 1 << 4;  // element 4
  q5_0.qh[2] = 1 << 5;  // element 21
  EXPECT_EQ(unpacked(q5_0)[4], 3.0F + 16 - 16);
  EXPECT_EQ(unpacked(q5_0)[20], 9.0F - 16);
  EXPECT_EQ(unpacked(q5_0)[21], 0.0F);

  BlockQ5_1 q5_1{kOne, kHalf, {}, {}};
  q5_1.qs[15] = 0xf0;
  q5_1.qh[3] = 1 << 7;  // element 31
  EXPECT_EQ(unpacked(q5_1)[31], 31.5F);
  EXPECT_EQ(unpacked(q5_1)[15], 0.5F);
}

TEST(Format, BytesOfQ8_0) {
  BlockQ8_0 block{kHalf, {}};
  block.qs[0] = -128;
  block.qs[31] = 127;
  EXPECT_EQ(unpacked(block)[0], -64.0F);
  EXPECT_EQ(unpacked(block)[31], 63.5F);
}

TEST(Format, ElementsOfMXFP4) {
  constexpr std::array kElements = {0.0F, 0.5F, 1.0F, 1.5F, 2.0F, 3.0F, 4.0F, 6.0F};
  BlockMXFP4 block{128, {}};  // a scale of 2
  for (int i = 0; i < 8; ++i) block.qs[i] = static_cast<uint8_t>(i | (i + 8) << 4);
  const std::vector<float> values = unpacked(block);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(values[i], 2 * kElements[i]);
    EXPECT_EQ(values[i + 16], -2 * kElements[i]);
  }
  block.e = 0;
  EXPECT_EQ(unpacked(block)[1], 0x1p-128F);
  EXPECT_TRUE(block.is_finite());
  block.e = 255;  // not a number
  EXPECT_FALSE(block.is_finite());
  block.e = 254;  // 4 times it is beyond float32
  EXPECT_FALSE(block.is_finite());
  block = BlockMXFP4{254, {0x13, 0x9b}};
  EXPECT_TRUE(block.is_finite());
  EXPECT_EQ(unpacked(block)[0], 1.5F * 0x1p127F);
}

TEST(Format, MXFP4RoundsToTheNearestElement) {
  std::vector<float> in = {6.0F,  7.9F, 5.0F,   5.01F,  3.5F,   3.51F, 2.5F, 2.51F,
                           1.75F, 1.8F, -0.25F, -0.26F, -0.75F, -0.8F, 0.1F, -4.9F};
  const std::vector<float> expected = {6.0F, 6.0F, 4.0F, 6.0F,  3.0F,  4.0F,  2.0F, 3.0F,
                                       1.5F, 2.0F, 0.0F, -0.5F, -0.5F, -1.0F, 0.0F, -4.0F};
  in.resize(32);
  std::vector<float> out = through(DType::kMXFP4, in);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(out[i], expected[i]) << in[i];
  in[31] = 8;  // the scale doubles
  out = through(DType::kMXFP4, in);
  EXPECT_EQ(out[31], 8.0F);
  EXPECT_EQ(out[1], 8.0F);
  EXPECT_EQ(out[10], 0.0F);
  EXPECT_EQ(out[11], 0.0F);
}

TEST(Format, ScalePairsOfKBlocks) {
  std::array<ScaleMin, 8> pairs;
  uint8_t bytes[12] = {};
  for (int j = 0; j < 8; ++j) {
    pairs[static_cast<size_t>(j)] = {63 - 7 * j, 5 + 8 * j - j % 2};
    put_scale_min(bytes, j, pairs[static_cast<size_t>(j)]);
  }
  for (int j = 0; j < 8; ++j) {
    EXPECT_EQ(scale_min_at(bytes, j).scale, pairs[static_cast<size_t>(j)].scale) << j;
    EXPECT_EQ(scale_min_at(bytes, j).min, pairs[static_cast<size_t>(j)].min) << j;
  }
  const uint8_t by_hand[12] = {0xc1, 2, 0, 0, 0x83, 4, 0, 0, 0x5a, 0, 0, 0};
  EXPECT_EQ(scale_min_at(by_hand, 0).scale, 1);
  EXPECT_EQ(scale_min_at(by_hand, 0).min, 3);
  EXPECT_EQ(scale_min_at(by_hand, 4).scale, 0x3a);
  EXPECT_EQ(scale_min_at(by_hand, 4).min, 0x25);
}

TEST(Format, CodesOfQ4_KAndQ5_K) {
  BlockQ4_K q4{kOne, kHalf, {}, {}};
  put_scale_min(q4.scales, 3, {2, 6});
  q4.qs[32 + 5] = 0xb7;  // elements 69 (sub-block 2) and 101 (sub-block 3)
  EXPECT_EQ(unpacked(q4)[101], 2 * 11.0F - 3);
  EXPECT_EQ(unpacked(q4)[100], -3.0F);
  EXPECT_EQ(unpacked(q4)[69], 0.0F);

  BlockQ5_K q5{kOne, kHalf, {}, {}, {}};
  put_scale_min(q5.scales, 6, {3, 1});
  q5.qs[96 + 31] = 0x04;
  q5.qh[31] = 1 << 6;  // element 31 of sub-block 6
  EXPECT_EQ(unpacked(q5)[223], 3 * 20.0F - 0.5F);
  EXPECT_EQ(unpacked(q5)[222], -0.5F);
}

TEST(Format, CodesOfQ6_K) {
  BlockQ6_K block{};
  block.d = kHalf;
  for (int j = 0; j < 16; ++j) block.scales[j] = static_cast<int8_t>(j - 8);
  EXPECT_EQ(unpacked(block)[0], 0.5F * -8 * -32);
  block.ql[64 + 32 + 2] = 0x5c;  // elements 162 (quarter 1 of the second half) and 226 (quarter 3)
  block.qh[32 + 2] = 0x84;       // 01 in bits 2 and 3, 10 in bits 6 and 7
  EXPECT_EQ(unpacked(block)[162], 0.5F * 2 * (0x1c - 32));
  EXPECT_EQ(unpacked(block)[226], 0.5F * 6 * (0x25 - 32));
}

TEST(Format, OneLevelFormatsMissByHalfAStepAtMost) {
  const std::vector<float> in = normal_values(4096, 0.03F);
  for (const auto& [type, codes] : {std::pair{DType::kQ8_0, 127.0F},
                                    {DType::kQ4_0, 8.0F},
                                    {DType::kQ5_0, 16.0F},
                                    {DType::kQ4_1, 15.0F},
                                    {DType::kQ5_1, 31.0F}}) {
    const bool affine = type == DType::kQ4_1 || type == DType::kQ5_1;
    const std::vector<float> out = through(type, in);
    for (size_t begin = 0; begin < in.size(); begin += 32) {
      const auto [min, max] = bounds_of({in.data() + begin, 32});
      const float reach = std::max(max, -min);
      // The side that the sign of the extreme element leaves one code short misses by a whole step.
      const bool one_sided = type == DType::kQ4_0 || type == DType::kQ5_0;
      const float step = (affine ? max - min : reach) / codes * (one_sided ? 2 : 1);
      // f16 rounds scale and offset to 11 bits: each moves a value by at most 2^-11 of its size.
      const float bound = step / 2 + 2 * std::max(reach, max - min) * 0x1p-11F;
      for (size_t i = begin; i < begin + 32; ++i) {
        ASSERT_LE(std::fabs(in[i] - out[i]), bound) << info_of(type).name << " element " << i;
      }
    }
  }
}

// Although their scales have 6 or 8 bits only.
TEST(Format, SearchBeatsNaiveRanges) {
  const std::vector<float> in = normal_values(64 * 256, 0.02F);
  EXPECT_LE(rmse(in, through(DType::kQ4_K, in)), 0.93 * rmse(in, naive_affine(in, 32, 15)));
  EXPECT_LE(rmse(in, through(DType::kQ5_K, in)), 0.97 * rmse(in, naive_affine(in, 32, 31)));
  EXPECT_LE(rmse(in, through(DType::kQ6_K, in)), 0.99 * rmse(in, naive_symmetric(in, 16, 31)));
}

TEST(Format, WhatAFormatHoldsComesBackTheSame) {
  const std::vector<float> in = normal_values(1024, 1.0F);
  for (const DTypeInfo& info : kDTypes) {
    const std::vector<float> once = through(info.type, in);
    const std::vector<float> twice = through(info.type, once);
    EXPECT_LE(rmse(once, twice), 0.15 * rmse(in, once) + 1e-3) << info.name;
  }
}

TEST(Format, ZerosStayZerosAndNothingIsUnsafe) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<std::vector<float>> patterns = {{kInfinity, 1.0F},
                                                    {-kInfinity, 0.0F},
                                                    {std::nanf(""), 2.0F},
                                                    {1e38F, -1e38F},
                                                    {1e-40F, 0.0F}};
  for (const DTypeInfo& info : kDTypes) {
    const std::vector<float> zeros(256);
    EXPECT_EQ(through(info.type, zeros), zeros) << info.name;
    for (const std::vector<float>& pattern : patterns) {
      std::vector<float> in;
      for (int i = 0; i < 256; ++i) in.push_back(pattern[static_cast<size_t>(i) % pattern.size()]);
      EXPECT_EQ(through(info.type, in).size(), in.size());  // sanitizers see the conversions
    }
  }
}

TEST(Format, ConstantBlocksAreNear) {
  for (const DTypeInfo& info : kDTypes) {
    for (const float value : {0.37F, -0.37F}) {
      const std::vector<float> in(256, value);
      for (const float x : through(info.type, in)) ASSERT_NEAR(x, value, 0.006F) << info.name;
    }
  }
}

}  // namespace
}  // namespace millrace
