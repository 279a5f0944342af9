#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <random>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "apps/conversion/gguf_weights.h"
#include "files/gguf_writer.h"
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

// A GGUF file of models/tiny, a Hugging Face folder of models/tiny-hf, or one of this repository.
class Tiny : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string name = GetParam();
    const bool is_file = name.ends_with(".gguf");
    path_ = name.starts_with("tests/")
                ? name
                : std::string(kSharedModels) + (is_file ? "tiny/" : "tiny-hf/") + name;
    if (!std::filesystem::exists(path_)) GTEST_SKIP() << path_ << " is absent";
    const std::string beside = is_file ? path_.substr(0, path_.size() - 5) : path_;
    tokens_ = read_tokens(beside + ".tokens.json");
    expected_ = read_floats(beside + ".logits.bin");
  }
  // Routers of untrained models choose among experts that are nearly as good.
  static double tolerance() {
    const std::string_view name = GetParam();
    return name == "qwen3-next" || name == "qwen3-5-moe" ? 2e-3 : 1e-3;
  }
  std::string path_;
  std::vector<TokenId> tokens_;
  std::vector<float> expected_;
};

// Each way of cutting the sequence is within a bound of the reference code, and all are the same to
// the bit.
TEST_P(Tiny, LogitsAreTheReferencesHoweverTheyAreComputed) {
  std::vector<float> first;
  for (const int threads : {1, 3}) {
    Runner runner(path_, ActivationMode::kF32, threads);
    for (const int32_t block_tokens : {1, 16, 32}) {
      std::mt19937 random(static_cast<uint32_t>(block_tokens));
      const std::function<int32_t()> cuts[] = {
          [] { return 1000; }, [] { return 1; },
          [&] { return std::uniform_int_distribution<int32_t>(1, 19)(random); }};
      for (const auto& cut : cuts) {
        const std::vector<float> actual =
            runner.logits(tokens_, 0, {.block_tokens = block_tokens, .rows_max = 128}, cut);
        ASSERT_EQ(actual.size(), expected_.size());
        if (first.empty()) first = actual;
        ASSERT_EQ(actual, first) << threads << " threads, blocks of " << block_tokens;
      }
    }
  }
  EXPECT_LE(worst_difference(first, expected_), tolerance());
}

TEST_P(Tiny, EveryInstructionSetIsWithinTheBound) {
  Runner runner(path_, ActivationMode::kF32, 1);
  for (const Isa isa : all_isas()) {
    if (!is_supported(isa)) continue;
    const std::vector<float> actual = runner.logits(tokens_, 0, {.isa = isa}, [] { return 20; });
    EXPECT_LE(worst_difference(actual, expected_), tolerance()) << name_of(isa);
  }
}

TEST_P(Tiny, AFileThatIsConvertedGivesTheSame) {
  if (!std::filesystem::is_directory(path_)) GTEST_SKIP() << "a file already";
  const auto folder = Checkpoint::open(path_);
  ASSERT_TRUE(folder.ok()) << folder.status();
  const WeightsToWrite weights = plan_weights_to_write(*folder, std::nullopt);
  const std::string file =
      testing::TempDir() + std::filesystem::path(path_).filename().string() + ".gguf";
  LanePool lanes(1);
  ASSERT_TRUE(write_gguf(file, [&](GgufWriter& writer) -> absl::Status {
                RETURN_IF_ERROR(writer.begin(folder->metadata(), weights.plan));
                return write_weights(*folder, weights, writer, lanes, [](double) {});
              }).ok());
  std::vector<float> logits[2];
  for (size_t i = 0; i < 2; ++i) {
    Runner runner(i == 0 ? path_ : file, ActivationMode::kF32, 1);
    logits[i] = runner.logits(tokens_, 0, {}, [] { return 20; });
  }
  std::filesystem::remove(file);
  EXPECT_EQ(logits[0], logits[1]);
}

std::string name_of_test(const testing::TestParamInfo<const char*>& test) {
  std::string name = test.param;
  for (char& c : name) {
    if (c == '-' || c == '.' || c == '/') c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Files, Tiny,
                         testing::Values("tiny-llama.gguf", "tiny-llama3-rope.gguf",
                                         "tiny-mistral-window.gguf", "tiny-qwen2.gguf",
                                         "tiny-qwen3.gguf"),
                         name_of_test);
INSTANTIATE_TEST_SUITE_P(Folders, Tiny,
                         testing::Values("tiny-llama", "tiny-llama3-rope", "tiny-mistral-window",
                                         "tiny-qwen2", "tiny-qwen3", "apertus", "arcee", "bitnet",
                                         "bloom", "cohere", "cohere2", "ernie4-5", "ernie4-5-moe",
                                         "exaone4", "falcon", "gemma2", "gemma3", "glm4",
                                         "gpt-neox", "gpt-oss", "gpt2", "gptj", "granite",
                                         "granite-moe", "hunyuan", "llama4", "ministral3",
                                         "mixtral", "mpt", "nemotron", "olmo2", "olmo3", "olmoe",
                                         "opt", "phi", "phi3", "phimoe", "qwen2-moe", "qwen3-moe",
                                         "seed-oss", "smollm3", "stablelm", "starcoder2"),
                         name_of_test);
INSTANTIATE_TEST_SUITE_P(LatentFolders, Tiny,
                         testing::Values("deepseek-v2", "deepseek-v3", "gemma4", "glm4-moe-lite"),
                         name_of_test);
INSTANTIATE_TEST_SUITE_P(RecurrentFolders, Tiny,
                         testing::Values("falcon-h1", "falcon-mamba", "granite-hybrid", "jamba",
                                         "lfm2", "lfm2-moe", "lfm3", "mamba", "mamba2", "minimax",
                                         "nemotron-h", "qwen3-5", "qwen3-5-moe", "qwen3-next",
                                         "recurrent-gemma", "rwkv4"),
                         name_of_test);
// Random models: of transformers 5.24's KimiLinearForCausalLM, named as the published one, with
// fewer heads in its latents than in its delta nets, and MiniCPM3ForCausalLM, whose keys and values
// are in one matrix; of torchscale 0.3's RetNetDecoder (width 24, values of 14 in heads whose keys
// have 8), whose logits are those of its parallel form.
INSTANTIATE_TEST_SUITE_P(OwnFolders, Tiny,
                         testing::Values("tests/models/kimi-linear", "tests/models/minicpm3",
                                         "tests/models/retnet"),
                         name_of_test);

}  // namespace
}  // namespace millrace
