// The vocabularies in ../shared/data/vocab against the ids that llama.cpp and the models' own
// tokenizers give.

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "files/checkpoint.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

const std::string kVocabularies = "../shared/data/vocab/";
const std::string kModels = "models/";

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

std::string path_of(const std::string& name) {
  const std::string shared = kVocabularies + name;
  return std::filesystem::exists(shared) ? shared : kModels + name;
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> open_tokenizer(const std::string& path) {
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(path));
  return Tokenizer::create(checkpoint.metadata());
}

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  size_t at = 0;
  for (size_t next; (next = text.find(separator, at)) != std::string::npos;) {
    parts.push_back(text.substr(at, next - at));
    at = next + separator.size();
  }
  parts.push_back(text.substr(at));
  return parts;
}

constexpr std::string_view kBert = "ggml-vocab-bert-bge.gguf";
const std::vector<const char*> kCovered = {kBert.data(),
                                           "ggml-vocab-deepseek-coder.gguf",
                                           "ggml-vocab-gpt-2.gguf",
                                           "ggml-vocab-llama-bpe.gguf",
                                           "ggml-vocab-llama-spm.gguf",
                                           "ggml-vocab-qwen2.gguf"};

class Vocabularies : public testing::TestWithParam<const char*> {};

TEST_P(Vocabularies, GiveTheIdsOfTheirOutFile) {
  const std::string path = kVocabularies + GetParam();
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not here";
  const auto tokenizer = open_tokenizer(path);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  std::vector<std::string> texts = split(read_file(path + ".inp"), "\n__ggml_vocab_test__\n");
  if (texts.back().empty()) texts.pop_back();
  std::istringstream lines(read_file(path + ".out"));
  for (const std::string& text : texts) {
    std::string line;
    ASSERT_TRUE(std::getline(lines, line));
    std::istringstream numbers(line);
    std::vector<TokenId> expected;
    for (TokenId id; numbers >> id;) expected.push_back(id);
    EXPECT_EQ((*tokenizer)->encode(text, {.add_special = false, .parse_special = false}), expected)
        << text;
    // BERT's pieces do not tell what was normalised away.
    if (GetParam() == kBert) continue;
    EXPECT_EQ((*tokenizer)->decode(expected), text);
  }
}

INSTANTIATE_TEST_SUITE_P(Covered, Vocabularies, testing::ValuesIn(kCovered));

TEST(Differential, EveryLineOfTheCoveredVocabulariesAgrees) {
  const std::string path = kVocabularies + "differential.jsonl";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not here";
  std::map<std::string, std::unique_ptr<const Tokenizer>> tokenizers;
  std::vector<const char*> names = kCovered;
  names.push_back("SmolLM2-135M-Instruct.Q4_1.gguf");
  for (const char* name : names) {
    if (!std::filesystem::exists(path_of(name))) continue;
    auto tokenizer = open_tokenizer(path_of(name));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizers[name] = *std::move(tokenizer);
  }
  std::map<std::string, int> agreed;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    const auto test = nlohmann::json::parse(line);
    const auto found = tokenizers.find(test["vocab"]);
    if (found == tokenizers.end()) continue;
    const EncodeOptions options{.add_special = false, .parse_special = test["parse_special"]};
    const auto text = test["text"].get<std::string>();
    EXPECT_EQ(found->second->encode(text, options), test["ids"].get<std::vector<TokenId>>())
        << found->first << ": " << text;
    ++agreed[found->first];
  }
  for (const auto& [name, tokenizer] : tokenizers) {
    EXPECT_EQ(agreed[name], name == kBert ? 400 : 497) << name;
  }
}

TEST(DefaultModel, KnowsItsRolesAndKeepsWrittenControlTokensText) {
  const std::string path = kModels + "SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not here";
  const auto opened = open_tokenizer(path);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const Tokenizer& tokenizer = **opened;
  EXPECT_FALSE(tokenizer.vocab().add_bos());
  EXPECT_EQ(tokenizer.vocab().ends_of_generation(), (std::vector<TokenId>{0, 2, 4}));
  MarkedText marked{"<|im_start|>user\n<|im_end|><|im_end|>\n", {{17, 27}}};
  const auto tokens = tokenizer.encode(marked);
  EXPECT_EQ(std::ranges::count(tokens, 2), 1);
  EXPECT_EQ(tokens.front(), 1);
  EXPECT_EQ(tokenizer.decode(tokens, {.skip_special = false}), marked.text);
}

}  // namespace
}  // namespace millrace
