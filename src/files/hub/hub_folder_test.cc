#include "files/hub/hub_folder.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "files/checkpoint.h"
#include "tensor/float_bits.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

const std::filesystem::path kFolders = "../shared/data/models/tiny-hf";
const std::filesystem::path kTwins = "../shared/data/models/tiny";

std::vector<float> values_of(const Checkpoint& checkpoint, const NamedTensor& tensor) {
  const auto bytes = checkpoint.read(tensor).value();
  std::vector<float> values;
  for (int64_t i = 0; i < tensor.layout.elements(); ++i) {
    float value = 0;
    uint16_t bits = 0;
    if (tensor.layout.dtype == DType::kF32) {
      std::memcpy(&value, bytes.data() + i * 4, sizeof value);
    } else {
      std::memcpy(&bits, bytes.data() + i * 2, sizeof bits);
      value = tensor.layout.dtype == DType::kBF16 ? f32_of_bf16(bits) : f32_of_f16(bits);
    }
    values.push_back(value);
  }
  return values;
}

// What the GGUF file says about its model but for the tokenizer, the folder says too, and each
// tensor has the same values.
TEST(HubFolder, IsWhatConvertersMakeOfIt) {
  if (!std::filesystem::exists(kFolders)) GTEST_SKIP();
  for (const std::string name :
       {"tiny-llama", "tiny-llama3-rope", "tiny-mistral-window", "tiny-qwen2", "tiny-qwen3"}) {
    const auto folder = Checkpoint::open((kFolders / name).string());
    ASSERT_TRUE(folder.ok()) << folder.status();
    const auto twin = Checkpoint::open((kTwins / (name + ".gguf")).string()).value();
    for (const auto& [key, value] : twin.metadata().entries()) {
      if (key.starts_with("tokenizer.")) continue;
      const MetaValue* mine = folder->metadata().find(key);
      ASSERT_NE(mine, nullptr) << name << " " << key;
      EXPECT_EQ(mine->type, value.type) << key;
      if (const auto* integer = std::get_if<int64_t>(&value.value)) {
        EXPECT_EQ(std::get<int64_t>(mine->value), *integer) << key;
      } else if (const auto* number = std::get_if<double>(&value.value)) {
        EXPECT_EQ(std::get<double>(mine->value), *number) << key;
      } else {
        EXPECT_EQ(std::get<std::string_view>(mine->value), std::get<std::string_view>(value.value));
      }
    }
    ASSERT_EQ(folder->tensors().size(), twin.tensors().size()) << name;
    for (const NamedTensor& tensor : twin.tensors()) {
      const NamedTensor* mine = folder->find(tensor.name);
      ASSERT_NE(mine, nullptr) << tensor.name;
      EXPECT_EQ(mine->layout.shape, tensor.layout.shape) << tensor.name;
      std::vector<float> values = values_of(twin, tensor);
      if (tensor.name != "rope_freqs.weight") {  // the folder's files are BF16
        for (float& value : values) value = f32_of_bf16(bf16_of_f32(value));
      }
      EXPECT_EQ(values_of(*folder, *mine), values) << name << " " << tensor.name;
    }
  }
}

TEST(HubFolder, OpensEveryArchitecture) {
  if (!std::filesystem::exists(kFolders)) GTEST_SKIP();
  for (const std::string name :
       {"apertus",      "arcee",    "bitnet",    "bloom",    "cohere",      "cohere2",   "ernie4-5",
        "ernie4-5-moe", "exaone4",  "falcon",    "gemma2",   "gemma3",      "glm4",      "gpt-neox",
        "gpt-oss",      "gpt2",     "gptj",      "granite",  "granite-moe", "hunyuan",   "llama4",
        "ministral3",   "mixtral",  "mpt",       "nemotron", "olmo2",       "olmo3",     "olmoe",
        "opt",          "phi",      "phi3",      "phimoe",   "qwen2-moe",   "qwen3-moe", "seed-oss",
        "smollm3",      "stablelm", "starcoder2"}) {
    const auto folder = Checkpoint::open((kFolders / name).string());
    EXPECT_TRUE(folder.ok()) << name << ": " << folder.status();
    if (!folder.ok()) continue;
    for (const NamedTensor& tensor : folder->tensors()) {
      EXPECT_TRUE(folder->read(tensor).ok()) << tensor.name;
    }
  }
}

}  // namespace
}  // namespace millrace
