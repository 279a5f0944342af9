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
  for (const std::string architecture : {"llama", "qwen2", "qwen3"}) {
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
    Runner runner(*checkpoint, ActivationMode::kF32, 2);
    std::vector<TokenId> tokens;
    for (int32_t i = 0; i < kTokens; ++i) {
      tokens.push_back(static_cast<TokenId>(i * 7 % shape.vocab));
    }
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

}  // namespace
}  // namespace millrace
