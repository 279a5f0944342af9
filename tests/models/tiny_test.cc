#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/models/runner.h"

namespace millrace {
namespace {

std::vector<TokenId> read_tokens(const std::string& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file).get<std::vector<TokenId>>();
}

std::vector<float> read_floats(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<float> values(std::filesystem::file_size(path) / sizeof(float));
  file.read(reinterpret_cast<char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(float)));
  return values;
}

double worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    worst = std::max(worst, std::abs(double{a[i]} - double{b[i]}));
  }
  return worst;
}

class Tiny : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    path_ = std::string(kSharedModels) + "tiny/" + GetParam();
    if (!std::filesystem::exists(path_ + ".gguf")) {
      GTEST_SKIP() << path_ << ".gguf is absent";
    }
  }
  std::string path_;
};

// Each way of cutting the sequence is within 1e-3 of the reference code, and all are the same to
// the bit.
TEST_P(Tiny, LogitsAreTheReferencesHoweverTheyAreComputed) {
  const std::vector<TokenId> tokens = read_tokens(path_ + ".tokens.json");
  const std::vector<float> expected = read_floats(path_ + ".logits.bin");
  std::vector<float> first;
  for (const int threads : {1, 3}) {
    Runner runner(path_ + ".gguf", ActivationMode::kF32, threads);
    for (const int32_t block_tokens : {1, 16, 32}) {
      std::mt19937 random(static_cast<uint32_t>(block_tokens));
      const std::function<int32_t()> cuts[] = {
          [] { return 1000; }, [] { return 1; },
          [&] { return std::uniform_int_distribution<int32_t>(1, 19)(random); }};
      for (const auto& cut : cuts) {
        const std::vector<float> actual =
            runner.logits(tokens, 0, {.block_tokens = block_tokens, .rows_max = 128}, cut);
        ASSERT_EQ(actual.size(), expected.size());
        if (first.empty()) first = actual;
        ASSERT_EQ(actual, first) << threads << " threads, blocks of " << block_tokens;
      }
    }
  }
  EXPECT_LE(worst_difference(first, expected), 1e-3);
}

TEST_P(Tiny, EveryInstructionSetIsWithinTheBound) {
  const std::vector<TokenId> tokens = read_tokens(path_ + ".tokens.json");
  const std::vector<float> expected = read_floats(path_ + ".logits.bin");
  Runner runner(path_ + ".gguf", ActivationMode::kF32, 1);
  for (const Isa isa : all_isas()) {
    if (!is_supported(isa)) continue;
    const std::vector<float> actual = runner.logits(tokens, 0, {.isa = isa}, [] { return 20; });
    EXPECT_LE(worst_difference(actual, expected), 1e-3) << name_of(isa);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Tiny,
                         testing::Values("tiny-llama", "tiny-llama3-rope", "tiny-mistral-window",
                                         "tiny-qwen2", "tiny-qwen3"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace millrace
