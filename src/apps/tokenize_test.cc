#include "apps/tokenize.h"

#include <filesystem>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

  absl::StatusOr<std::string> tokenize(std::string_view text) const {
    std::FILE* in = std::tmpfile();
    std::fwrite(text.data(), 1, text.size(), in);
    std::rewind(in);
    std::FILE* out = std::tmpfile();
    const absl::Status status = run_tokenize(options_, in, out);
    std::string written(static_cast<size_t>(std::ftell(out)), '\0');
    std::rewind(out);
    EXPECT_EQ(std::fread(written.data(), 1, written.size(), out), written.size());
    std::fclose(in);
    std::fclose(out);
    if (!status.ok()) return status;
    return written;
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

TEST_F(Tokenize, MissingFilesAreNamed) {
  options_.file = "/no/such/text";
  EXPECT_THAT(message_of(tokenize("").status()), HasSubstr("'/no/such/text'"));
}

}  // namespace
}  // namespace millrace
