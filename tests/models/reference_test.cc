#include "tests/models/reference.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/random.h"
#include "tests/models/runner.h"

namespace millrace {
namespace {

constexpr int32_t kTokens = 45;  // more than a tile of 32 keys

std::vector<RandomModelShape> shapes() {
  std::vector<RandomModelShape> all;
  for (const std::string architecture : {"llama", "qwen2", "qwen3", "gemma3", "command-r"}) {
    for (const DType format : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0,
                               DType::kQ4_1, DType::kQ5_0, DType::kQ5_1}) {
      RandomModelShape shape;
      shape.architecture = architecture;
      shape.format = format;
      all.push_back(shape);
    }
  }
  RandomModelShape odd;  // nothing is a multiple of anything
  odd.width = 36;
  odd.hidden = 50;
  odd.heads = 5;
  odd.kv_heads = 1;
  odd.head_dim = 14;
  odd.vocab = 41;
  all.push_back(odd);
  RandomModelShape window;
  window.window = 9;
  window.heads = 6;
  window.kv_heads = 6;
  window.head_dim = 8;
  all.push_back(window);
  for (const DType format : {DType::kF32, DType::kBF16, DType::kQ8_0}) {
    RandomModelShape streams;
    streams.architecture = "gemma3n";
    streams.format = format;
    streams.layers = 4;
    streams.window = 9;
    all.push_back(streams);
  }
  for (const DType format : {DType::kF32, DType::kQ8_0, DType::kMXFP4}) {
    RandomModelShape experts;
    experts.architecture = format == DType::kQ8_0 ? "llama" : "qwen3moe";
    experts.format = format;
    experts.experts = 6;
    experts.chosen = 3;
    if (format == DType::kF32) experts.hidden = 50;  // no whole panels
    all.push_back(experts);
  }
  for (const DType format : {DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    RandomModelShape wide;
    wide.width = 256;
    wide.hidden = 512;
    wide.heads = 8;
    wide.head_dim = 32;
    wide.layers = 1;
    wide.format = format;
    all.push_back(wide);
  }
  return all;
}

std::vector<TokenId> some_tokens(const RandomModelShape& shape) {
  std::vector<TokenId> tokens;
  for (int32_t i = 0; i < kTokens; ++i) {
    tokens.push_back(static_cast<TokenId>(i * 7 % shape.vocab));
  }
  return tokens;
}

// With float32 activations only the order of sums differs: each of some ten sums of a hundred
// float32 products is off by some 100 * 2^-24 of its size, and logits are of size ten.
TEST(Reference, RandomModelsOfEveryFormatGiveItsLogits) {
  for (const RandomModelShape& shape : shapes()) {
    SCOPED_TRACE(shape.architecture + " " + std::string(info_of(shape.format).name) + " " +
                 std::to_string(shape.width));
    const auto file = random_model(shape);
    ASSERT_TRUE(file.ok()) << file.status();
    const auto checkpoint = Checkpoint::parse(*file);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    Runner runner(*checkpoint,
                  {.activations = ActivationMode::kF32, .pack_cache = {}, .progress = {}}, 2);
    const std::vector<TokenId> tokens = some_tokens(shape);
    const std::vector<double> expected =
        reference_logits(*checkpoint, runner.model().spec(), tokens);
    const std::vector<float> actual =
        runner.logits(tokens, 0, {.block_tokens = 4}, [] { return 13; });
    ASSERT_EQ(actual.size(), expected.size());
    double worst = 0;
    for (size_t i = 0; i < actual.size(); ++i) {
      worst = std::max(worst, std::abs(double{actual[i]} - expected[i]));
    }
    EXPECT_LE(worst, 1e-3);
  }
}

// On a tier with products of bfloat16 the activations of BF16 weights lose all but 8 bits: each of
// a few dozen sums in a row is off by some 2^-9 of its size over the root of its hundred terms, so
// the logits, of size ten, by some hundredths. However the tokens are cut, the bits are the same.
TEST(Reference, Bfloat16ProductsComeCloseAndKeepTheirBits) {
  const RandomModelShape shape{.hidden = 98, .format = DType::kBF16};
  const auto file = random_model(shape);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto checkpoint = Checkpoint::parse(*file);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const Isa isa = Isa::kPortable16;
  Runner runner(*checkpoint, {.isa = isa, .pack_cache = {}, .progress = {}}, 2);
  const std::vector<TokenId> tokens = some_tokens(shape);
  const std::vector<double> exact = reference_logits(*checkpoint, runner.model().spec(), tokens);
  const std::vector<float> cut = runner.logits(tokens, 0, {.isa = isa}, [] { return 13; });
  ASSERT_EQ(cut.size(), exact.size());
  double worst = 0;
  for (size_t i = 0; i < cut.size(); ++i) {
    worst = std::max(worst, std::abs(double{cut[i]} - exact[i]));
  }
  EXPECT_LE(worst, 0.2);
  EXPECT_GE(worst, 1e-3) << "these are not bfloat16 products";
  EXPECT_EQ(runner.logits(tokens, 0, {.isa = isa}, [] { return 1; }), cut);
  const Isa twin = Isa::kAvx512Bf16;
  if (!is_supported(twin)) return;
  EXPECT_EQ(runner.logits(tokens, 0, {.isa = twin}, [] { return 13; }), cut);
}

}  // namespace
}  // namespace millrace
