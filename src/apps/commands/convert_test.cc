#include "apps/commands/convert.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apps/conversion/gguf_weights.h"
#include "apps/input/generation_config.h"
#include "files/checkpoint.h"
#include "quant/format.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::filesystem::path kFolders = "../shared/data/models/tiny-hf";

class ConvertTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path(std::string_view name) const { return (folder_ / name).string(); }
  void write(std::string_view name, std::string_view text) const {
    std::ofstream(path(name), std::ios::binary) << text;
  }
  // A folder of ours with the model of one of those that are shared.
  bool take(const std::string& name) const {
    if (!std::filesystem::exists(kFolders / name)) return false;
    for (const char* file : {"config.json", "model.safetensors"}) {
      std::filesystem::copy_file(kFolders / name / file, folder_ / file);
    }
    return true;
  }
  absl::Status convert(const std::string& model, const std::string& type) const {
    return run_convert({.model = model, .out = path("out.gguf"), .type = type, .threads = 2});
  }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / fmt::format("convert-{}", ::getpid());
};

TEST_F(ConvertTest, AFileIsWhatTheFolderWas) {
  if (!std::filesystem::exists(kFolders)) GTEST_SKIP();
  for (const std::string name : {"tiny-llama3-rope", "gemma3", "gpt2", "bloom", "falcon", "gpt-oss",
                                 "llama4", "granite-moe", "qwen2-moe", "apertus"}) {
    const auto folder = Checkpoint::open((kFolders / name).string()).value();
    ASSERT_EQ(convert((kFolders / name).string(), "auto"), absl::OkStatus()) << name;
    const auto file = Checkpoint::open(path("out.gguf")).value();
    for (const auto& [key, value] : folder.metadata().entries()) {
      const MetaValue* there = file.metadata().find(key);
      ASSERT_NE(there, nullptr) << key;
      EXPECT_EQ(there->type, value.type);
      EXPECT_EQ(there->value.index(), value.value.index());
    }
    ASSERT_EQ(file.tensors().size(), folder.tensors().size());
    for (size_t i = 0; i < file.tensors().size(); ++i) {
      const NamedTensor& made = folder.tensors()[i];
      const NamedTensor& tensor = file.tensors()[i];
      EXPECT_EQ(tensor.name, made.name);
      EXPECT_EQ(tensor.layout.dtype, made.layout.dtype) << made.name;
      EXPECT_EQ(tensor.layout.shape, made.layout.shape) << made.name;
      EXPECT_EQ(file.read(tensor).value(), folder.read(made).value()) << name << " " << made.name;
    }
  }
}

TEST_F(ConvertTest, MatricesBecomeTheTypeThatIsAskedFor) {
  if (!std::filesystem::exists(kFolders)) GTEST_SKIP();
  const auto folder = Checkpoint::open((kFolders / "tiny-qwen2").string()).value();
  ASSERT_EQ(convert((kFolders / "tiny-qwen2").string(), "q8_0"), absl::OkStatus());
  const auto file = Checkpoint::open(path("out.gguf")).value();
  EXPECT_EQ(file.metadata().integer("general.file_type", 0, 99).value(), 7);
  const NamedTensor* tensor = file.find("blk.1.ffn_down.weight");
  ASSERT_EQ(tensor->layout.dtype, DType::kQ8_0);
  EXPECT_EQ(file.find("blk.1.attn_q.bias")->layout.dtype, DType::kF32);
  EXPECT_EQ(file.find("output_norm.weight")->layout.dtype, DType::kF32);
  // As each row is by itself.
  const NamedTensor* made = folder.find("blk.1.ffn_down.weight");
  const auto stored = folder.read(*made).value();
  std::vector<float> values(static_cast<size_t>(made->layout.elements()));
  unpack_row(DType::kBF16, stored.data(), made->layout.elements(), values.data());
  std::vector<std::byte> expected(static_cast<size_t>(tensor->layout.bytes()));
  pack_row(DType::kQ8_0, values.data(), made->layout.elements(), expected.data());
  EXPECT_EQ(file.read(*tensor).value(), expected);
  // Rows of 64 and 96 are no blocks of 256.
  const WeightsToWrite kept = plan_weights_to_write(folder, DType::kQ4_K);
  EXPECT_EQ(kept.kept, 22);
}

constexpr std::string_view kTokenizer = R"({"added_tokens": [
    {"id": 268, "content": "<|bos|>", "special": true, "normalized": false},
    {"id": 269, "content": "<|eos|>", "special": true, "normalized": false}],
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": REGEX},
  "decoder": {"type": "ByteLevel"},
  "model": {"type": "BPE", "vocab": {VOCAB}, "merges": ["a b", ["h", "e"], "l l"]}})";

// The bytes that spell themselves, and three merges.
std::string tokenizer_json(std::string_view regex) {
  std::string vocab;
  for (int byte = 33; byte < 127; ++byte) {
    const char c = static_cast<char>(byte);
    const std::string text = c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    vocab += fmt::format(R"("{}": {}, )", text, byte - 33);
  }
  vocab += R"("Ġ": 94, "Ċ": 95, "ab": 96, "he": 97, "ll": 98)";
  std::string json(kTokenizer);
  json.replace(json.find("VOCAB"), 5, vocab);
  json.replace(json.find("REGEX"), 5, regex);
  return json;
}

TEST_F(ConvertTest, AFilesVocabularyDoesWhatTheFoldersDoes) {
  if (!take("tiny-llama")) GTEST_SKIP();
  write("tokenizer.json", tokenizer_json("true"));
  write("tokenizer_config.json",
        R"({"bos_token": "<|bos|>", "eos_token": {"content": "<|eos|>"}, "add_bos_token": true,
            "chat_template": [{"name": "default", "template": "D"},
                              {"name": "rag", "template": "R"}]})");
  write("generation_config.json", R"({"eos_token_id": [269, 98]})");
  ASSERT_EQ(convert(folder_.string(), "auto"), absl::OkStatus());
  const auto file = Checkpoint::open(path("out.gguf")).value();
  const Metadata& metadata = file.metadata();
  EXPECT_EQ(metadata.string("tokenizer.ggml.model").value(), "gpt2");
  EXPECT_EQ(metadata.string("tokenizer.ggml.pre").value(), "gpt-2");
  EXPECT_EQ(metadata.strings("tokenizer.ggml.tokens").value().size(), 272u);  // embedding's rows
  EXPECT_EQ(metadata.integer("tokenizer.ggml.eot_token_id", 0, 271).value(), 98);
  EXPECT_EQ(metadata.string("tokenizer.chat_template").value(), "D");
  EXPECT_EQ(metadata.string("tokenizer.chat_template.rag").value(), "R");
  EXPECT_THAT(metadata.strings("tokenizer.chat_templates").value(), ElementsAre("rag"));
  const auto tokenizer = Tokenizer::create(metadata).value();
  EXPECT_EQ(tokenizer->encode("hello ab"), (std::vector<TokenId>{268, 97, 98, 78, 94, 96}));
  EXPECT_TRUE(tokenizer->vocab().ends_generation(269));
  EXPECT_TRUE(tokenizer->vocab().ends_generation(98));
}

TEST_F(ConvertTest, UnigramsKeepTheirScores) {
  if (!take("tiny-llama")) GTEST_SKIP();
  write("tokenizer.json", R"({"added_tokens": [
      {"id": 0, "content": "<unk>", "special": true, "normalized": false},
      {"id": 1, "content": "</s>", "special": true, "normalized": false}],
    "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
    "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
    "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["</s>", 0], ["▁", -2],
      ["a", -3], ["b", -3.5], ["ab", -4], ["▁a", -2.5]]}})");
  write("tokenizer_config.json", R"({"eos_token": "</s>"})");
  ASSERT_EQ(convert(folder_.string(), "auto"), absl::OkStatus());
  const auto file = Checkpoint::open(path("out.gguf")).value();
  EXPECT_EQ(file.metadata().string("tokenizer.ggml.model").value(), "t5");
  EXPECT_EQ(file.metadata().numbers("tokenizer.ggml.scores").value()[4], -3.5);
  const auto tokenizer = Tokenizer::create(file.metadata()).value();
  EXPECT_EQ(tokenizer->encode("ab ab"), (std::vector<TokenId>{2, 5, 2, 5}));
}

TEST_F(ConvertTest, WhatCannotBeSaidInAFileIsRefused) {
  if (!take("tiny-llama")) GTEST_SKIP();
  write("tokenizer.json", R"({"model": {"type": "WordLevel", "unk_token": "a",
                              "vocab": {"a": 0, "b": 1}}})");
  EXPECT_THAT(convert(folder_.string(), "auto").ToString(), HasSubstr("'WordLevel'"));
  EXPECT_FALSE(std::filesystem::exists(path("out.gguf")));
  std::filesystem::remove(path("tokenizer.json"));
  EXPECT_EQ(convert(folder_.string(), "auto"), absl::OkStatus());  // no vocabulary at all
  const auto file = Checkpoint::open(path("out.gguf")).value();
  EXPECT_EQ(file.metadata().string("tokenizer.ggml.model").value(), "no_vocab");
}

TEST_F(ConvertTest, DefaultsOfAnswersComeFromTheFolder) {
  write("config.json", R"({"eos_token_id": 7})");
  const std::string model = folder_.string();
  auto defaults = read_answer_defaults(model, "auto", 300).value();
  EXPECT_FALSE(defaults.temperature);
  EXPECT_THAT(defaults.ends, ElementsAre(7));
  write("generation_config.json",
        R"({"temperature": 0.5, "top_k": 20, "top_p": 0.9, "min_p": null,
            "repetition_penalty": 1.1, "eos_token_id": [5, 6], "do_sample": true})");
  defaults = read_answer_defaults(model, "auto", 300).value();
  EXPECT_EQ(defaults.temperature, 0.5F);
  EXPECT_EQ(defaults.top_k, 20);
  EXPECT_EQ(defaults.top_p, 0.9F);
  EXPECT_FALSE(defaults.min_p);
  EXPECT_EQ(defaults.repetition, 1.1F);
  EXPECT_THAT(defaults.ends, ElementsAre(5, 6));
  SamplingParams sampling;
  defaults.fill(sampling);
  EXPECT_EQ(sampling.top_k, 20);
  EXPECT_EQ(sampling.min_p, 0);
  StopParams stop = {.tokens = {6, 9}};
  defaults.add_ends(stop);
  EXPECT_EQ(stop.tokens, (TokenSet{5, 6, 9}));
  StopParams unending = {.ignore_eos = true};
  defaults.add_ends(unending);
  EXPECT_TRUE(unending.tokens.empty());
  for (const std::string none : {"none", "vllm"}) {
    defaults = read_answer_defaults(model, none, 300).value();
    EXPECT_FALSE(defaults.temperature);
    EXPECT_THAT(defaults.ends, ElementsAre(7));
  }
  EXPECT_EQ(read_answer_defaults("file.gguf", model, 300)->top_k, 20);
  EXPECT_FALSE(read_answer_defaults("file.gguf", "auto", 300)->top_k);
  EXPECT_EQ(read_answer_defaults(model, "/no/such", 300).status().code(),
            absl::StatusCode::kNotFound);
  const auto error = [&](std::string_view text) {
    write("generation_config.json", text);
    return read_answer_defaults(model, "auto", 300).status().ToString();
  };
  EXPECT_THAT(error(R"({"temperature": -1})"), HasSubstr("temperature is -1"));
  EXPECT_THAT(error(R"({"top_p": "x"})"), HasSubstr("top_p is string"));
  EXPECT_THAT(error(R"({"eos_token_id": 300})"), HasSubstr("eos_token_id is 300"));
  EXPECT_THAT(error("{"), HasSubstr("generation_config.json': it is not valid JSON"));
}

}  // namespace
}  // namespace millrace
