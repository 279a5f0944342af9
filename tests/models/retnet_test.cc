#include <cmath>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/models/runner.h"

namespace millrace {
namespace {

constexpr const char* kRetNetFolder = "tests/models/retnet";

// A random RetNetDecoder of torchscale 0.3 (width 24, values of 14 in heads whose keys have 8), and
// the logits of its parallel form.
TEST(RetNet, LogitsAreTorchscalesHoweverTheyAreComputed) {
  const std::string folder = kRetNetFolder;
  std::ifstream tokens_file(folder + "/tokens.json");
  const auto tokens = nlohmann::json::parse(tokens_file).get<std::vector<TokenId>>();
  std::vector<float> expected(std::filesystem::file_size(folder + "/logits.bin") / sizeof(float));
  std::ifstream(folder + "/logits.bin", std::ios::binary)
      .read(reinterpret_cast<char*>(expected.data()),
            static_cast<std::streamsize>(expected.size() * sizeof(float)));
  for (const Isa isa : all_isas()) {
    if (!is_supported(isa)) continue;
    std::vector<float> whole;
    for (const int32_t cut : {1000, 1, 7}) {
      Runner runner(folder, ActivationMode::kF32, cut == 7 ? 3 : 1);
      const std::vector<float> logits = runner.logits(tokens, 0, {.isa = isa}, [&] { return cut; });
      ASSERT_EQ(logits.size(), expected.size());
      if (whole.empty()) whole = logits;
      EXPECT_EQ(logits, whole) << "rows at a time: " << cut;
    }
    double worst = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      worst = std::max(worst, std::fabs(double{whole[i]} - double{expected[i]}));
    }
    EXPECT_LE(worst, 1e-4) << name_of(isa);
  }
}

}  // namespace
}  // namespace millrace
