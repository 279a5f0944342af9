#include "apps/commands/tokenize.h"

#include <filesystem>
#include <unistd.h>
#include <vector>

#include <absl/functional/function_ref.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "apps/commands/detokenize.h"
#include "files/gguf_writer.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

// A byte-level vocabulary of a, b, a space (U+0120 in its alphabet), "ab", and two control tokens.
Metadata small_vocabulary() {
  Metadata metadata;
  metadata.set_string("tokenizer.ggml.model", "gpt2");
  metadata.set_string("tokenizer.ggml.pre", "gpt-2");
  metadata.set_strings("tokenizer.ggml.tokens",
                       std::vector<std::string>{"a", "b", "\xc4\xa0", "ab", "<s>", "<end>"});
  metadata.set_integers("tokenizer.ggml.token_type", MetaType::kI32, {1, 1, 1, 1, 3, 3});
  metadata.set_strings("tokenizer.ggml.merges", std::vector<std::string>{"a b"});
  metadata.set_integer("tokenizer.ggml.bos_token_id", MetaType::kU32, 4);
  metadata.set_boolean("tokenizer.ggml.add_bos_token", true);
  return metadata;
}

class Tokenize : public testing::Test {
 protected:
  Tokenize() {
    options_.model = std::filesystem::temp_directory_path() /
                     fmt::format("millrace-tokenize-{}.gguf", ::getpid());
    EXPECT_TRUE(write_gguf(options_.model, small_vocabulary(), {}).ok());
  }
  ~Tokenize() override { std::filesystem::remove(options_.model); }

  using Run = absl::FunctionRef<absl::Status(std::FILE* in, std::FILE* out)>;
  static absl::StatusOr<std::string> output_of(std::string_view input, Run run) {
    std::FILE* in = std::tmpfile();
    std::fwrite(input.data(), 1, input.size(), in);
    std::rewind(in);
    std::FILE* out = std::tmpfile();
    const absl::Status status = run(in, out);
    std::string written(static_cast<size_t>(std::ftell(out)), '\0');
    std::rewind(out);
    EXPECT_EQ(std::fread(written.data(), 1, written.size(), out), written.size());
    std::fclose(in);
    std::fclose(out);
    if (!status.ok()) return status;
    return written;
  }
  absl::StatusOr<std::string> tokenize(std::string_view text) const {
    return output_of(text, [this](auto* in, auto* out) { return run_tokenize(options_, in, out); });
  }
  static absl::StatusOr<std::string> detokenize(const DetokenizeOptions& options,
                                                std::string_view input) {
    return output_of(input, [&](auto* in, auto* out) { return run_detokenize(options, in, out); });
  }

  TokenizeOptions options_;
};

TEST_F(Tokenize, IdsAreAJsonList) {
  EXPECT_EQ(tokenize("ab a<end>").value(), "[4, 3, 2, 0, 5]\n");
  EXPECT_EQ(tokenize("").value(), "[4]\n");
  options_.add_bos = false;
  EXPECT_EQ(tokenize("ab").value(), "[3]\n");
  EXPECT_EQ(tokenize("").value(), "[]\n");
}

TEST_F(Tokenize, CountAndPieces) {
  options_.count = true;
  EXPECT_EQ(tokenize("ab a").value(), "4\n");
  options_.count = false;
  options_.pieces = true;
  EXPECT_EQ(tokenize("b ").value(), "      4  <s>\n      1  b\n      2   \n");
}

TEST_F(Tokenize, SpellingsCanBePlainText) {
  options_.add_bos = false;
  options_.no_special = true;
  EXPECT_EQ(tokenize("a<end>").value().find('5'), std::string::npos);
}

TEST_F(Tokenize, OneStringALine) {
  options_.jsonl = true;
  EXPECT_EQ(tokenize("\"ab\"\n\"a\\u0020b\"\r\n\"\"").value(), "[4, 3]\n[4, 0, 2, 1]\n[4]\n");
  options_.pieces = true;
  EXPECT_EQ(tokenize("\"ab\"\n").value(), "[\"<s>\",\"ab\"]\n");
  for (const char* text : {"\"ab\"\nab\n", "\"a\"\n\n\"b\"", "\"a\"\n[\"b\"]", "\"a\"\n\"b"}) {
    EXPECT_THAT(message_of(tokenize(text).status()), HasSubstr("line 2: expected one JSON string"));
  }
}

TEST_F(Tokenize, BosAsTheVocabularySaysOrAsTheUserDoes) {
  options_.add_bos = true;
  EXPECT_EQ(tokenize("ab").value(), "[4, 3]\n");
  options_.add_bos = false;
  EXPECT_EQ(tokenize("ab").value(), "[3]\n");
}

TEST_F(Tokenize, SplitPatternsCanBeChosen) {
  options_.vocabulary.pre = "no-such";
  EXPECT_THAT(message_of(tokenize("").status()), HasSubstr("'no-such'"));
  options_.vocabulary.pre = "llama-bpe";
  EXPECT_TRUE(tokenize("").ok());
}

TEST_F(Tokenize, DetokenizeTakesItBack) {
  DetokenizeOptions options;
  options.model = options_.model;
  EXPECT_EQ(detokenize(options, tokenize("ab a<end>").value()).value(), "ab a<end>");
  EXPECT_EQ(detokenize(options, "[]").value(), "");
  EXPECT_EQ(detokenize(options, "[3, 4]").value(), "ab<s>");
  options.no_special = true;
  EXPECT_EQ(detokenize(options, "[3, 4, 5]").value(), "ab");
  for (const auto& [list, says] :
       std::vector<std::pair<const char*, const char*>>{{"[1, 6]", "entry 1: 6 is no token"},
                                                        {"[-1]", "entry 0: -1"},
                                                        {"[1.5]", "entry 0"},
                                                        {"{}", "one JSON list"},
                                                        {"[1", "one JSON list"}}) {
    EXPECT_THAT(message_of(detokenize(options, list).status()), HasSubstr(says));
  }
}

TEST_F(Tokenize, DetokenizeReadsArgumentsAndLines) {
  DetokenizeOptions options;
  options.model = options_.model;
  options.ids = {3, 2, 0};
  EXPECT_EQ(detokenize(options, "").value(), "ab a");
  options.ids.clear();
  options.jsonl = true;
  EXPECT_EQ(detokenize(options, "[3]\n[2, 5]\n").value(), "\"ab\"\n\" <end>\"\n");
  EXPECT_THAT(message_of(detokenize(options, "[3]\n[9]\n").status()), HasSubstr("line 2: entry 0"));
}

TEST_F(Tokenize, MissingFilesAreNamed) {
  options_.file = "/no/such/text";
  EXPECT_THAT(message_of(tokenize("").status()), HasSubstr("'/no/such/text'"));
}

}  // namespace
}  // namespace millrace
