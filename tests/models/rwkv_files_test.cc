#include "tests/models/rwkv_files.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/models/runner.h"

// The tiny models of rwkv.cpp with the logits that it expects behind its tests' prompt.

namespace millrace {
namespace {

struct RwkvCase {
  const char* name;  // of the model and of its logits
  const char* format;
  RwkvVersion version;
  double bound;  // of a logit
};

// What unquantised weights give is off by roundings alone. Of the quantised file the logits are
// those of the weights before they were, from which dequantised ones in double differ by 0.076.
constexpr RwkvCase kCases[] = {{"4v0-660K", "FP32", RwkvVersion::k4, 5e-5},
                               {"5v2-730K", "FP32", RwkvVersion::k5, 5e-5},
                               {"6v0-3m", "Q5_1", RwkvVersion::k6, 0.08},
                               {"7v0-834K", "FP32", RwkvVersion::k7, 5e-5}};

class RwkvFiles : public testing::TestWithParam<RwkvCase> {};

TEST_P(RwkvFiles, LogitsAreThoseOfRwkvCpp) {
  const RwkvCase& test = GetParam();
  const std::string folder = std::string(kSharedModels) + "rwkv/";
  const std::string path = fmt::format("{}tiny-rwkv-{}-{}.bin", folder, test.name, test.format);
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent";
  constexpr size_t kVocab = 256;  // bytes
  std::vector<float> expected(kVocab);
  std::ifstream(fmt::format("{}expected-logits-{}.bin", folder, test.name), std::ios::binary)
      .read(reinterpret_cast<char*>(expected.data()), kVocab * sizeof(float));

  const std::string gguf = fmt::format("{}rwkv-{}.gguf", testing::TempDir(), test.name);
  write_rwkv_as_gguf(path, test.version, gguf);
  const std::vector<TokenId> prompt = {'"', 'i', 'n'};
  std::vector<float> first;
  for (const int threads : {1, 3}) {
    Runner runner(gguf, ActivationMode::kF32, threads);
    for (const int32_t rows : {3, 1, 2}) {
      const std::vector<float> logits = runner.logits(prompt, 2, {}, [&] { return rows; });
      ASSERT_EQ(logits.size(), kVocab);
      if (first.empty()) first = logits;
      EXPECT_EQ(logits, first) << threads << " threads, " << rows << " rows";
    }
  }
  std::filesystem::remove(gguf);
  double worst = 0, sum = 0;
  for (size_t i = 0; i < kVocab; ++i) {
    worst = std::max(worst, std::abs(double{first[i]} - double{expected[i]}));
    sum += double{first[i]} - double{expected[i]};
  }
  EXPECT_LE(worst, test.bound);
  // What rwkv.cpp's tests allow of all logits together.
  EXPECT_LE(std::abs(sum), std::string(test.format) == "FP32" ? 1.05e-3 : 1.05 * 3.576909);
  RecordProperty("worst", fmt::format("{:.2e}", worst));
}

INSTANTIATE_TEST_SUITE_P(Tiny, RwkvFiles, testing::ValuesIn(kCases), [](const auto& test) {
  return fmt::format("Rwkv{}", static_cast<int>(test.param.version));
});

}  // namespace
}  // namespace millrace
