#include "text/models/rwkv.h"

#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fixtures/text/tiny_vocab.h"

namespace millrace {
namespace {

using Ids = std::vector<TokenId>;

// <s>, bytes as tokens 1 to 256, then some longer ones.
TinyVocab world() {
  TinyVocab tiny;
  tiny.add("<s>", TokenKind::kControl);
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool plain = byte >= 0x20 && byte < 0x7F && c != '\\';
    tiny.add(plain ? std::string(1, c) : c == '\\' ? "\\\\" : fmt::format("\\x{:02x}", byte));
  }
  for (const char* token : {"he", "hell", " the", R"(\n\n)", R"(\xe4\xbd)", R"(\'s")"}) {
    tiny.add(token);
  }
  return tiny;
}

std::unique_ptr<const Tokenizer> rwkv_of(const TinyVocab& tiny) {
  auto made = Tokenizer::create(tiny.metadata("rwkv"));
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

TEST(Rwkv, TakesTheLongestTokenEachTime) {
  const auto tokenizer = rwkv_of(world());
  EXPECT_EQ(tokenizer->encode("hello"), (Ids{258, 1 + 'o'}));
  EXPECT_EQ(tokenizer->encode("help\n\n"), (Ids{257, 1 + 'l', 1 + 'p', 260}));
  EXPECT_EQ(tokenizer->encode("hel"), (Ids{257, 1 + 'l'}));
  EXPECT_EQ(tokenizer->encode("\xE4\xBD\xA0's\""), (Ids{261, 1 + 0xA0, 262}));
  EXPECT_EQ(tokenizer->encode("<s>"), Ids{0});
  EXPECT_EQ(tokenizer->encode("<s>", {.parse_special = false}).size(), 3);
  EXPECT_EQ(tokenizer->piece(261), "\xE4\xBD");
}

TEST(Rwkv, AnyBytesGoThereAndBack) {
  const auto world_tokenizer = rwkv_of(world());
  const auto bytes = byte_tokenizer();
  std::mt19937 random(11);
  for (int i = 0; i < 500; ++i) {
    std::string text;
    for (auto n = random() % 60; n > 0; --n) text += static_cast<char>(random());
    ASSERT_EQ(world_tokenizer->decode(world_tokenizer->encode(text)), text);
    ASSERT_EQ(bytes->decode(bytes->encode(text)), text);
  }
  EXPECT_EQ(bytes->encode("a\xFF\\"), (Ids{'a', 0xFF, '\\'}));
  EXPECT_EQ(bytes->vocab().size(), 256);
}

TEST(Rwkv, ABytesWithoutATokenIsUnknownOrLeftOut) {
  TinyVocab tiny;
  tiny.add("a");
  tiny.add("<unk>", TokenKind::kUnknown);
  Metadata metadata = tiny.metadata("rwkv");
  EXPECT_EQ((*Tokenizer::create(metadata))->encode("xax"), Ids{0});
  metadata.set_integer("tokenizer.ggml.unknown_token_id", MetaType::kU32, 1);
  EXPECT_EQ((*Tokenizer::create(metadata))->encode("xax"), (Ids{1, 0, 1}));
}

TEST(Rwkv, RefusesEscapesThatPythonHasNot) {
  for (const char* broken : {"\\", "\\q", "\\x", "\\x4", "\\xg1", "a\\x+1"}) {
    TinyVocab tiny = world();
    tiny.tokens[258] = broken;
    const auto refused = Tokenizer::create(tiny.metadata("rwkv"));
    EXPECT_TRUE(absl::IsInvalidArgument(refused.status())) << broken;
    EXPECT_THAT(std::string(message_of(refused.status())), testing::HasSubstr("index 258"));
  }
}

}  // namespace
}  // namespace millrace
