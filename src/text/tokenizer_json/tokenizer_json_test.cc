#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/stream.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

using Tokens = std::vector<TokenId>;

std::unique_ptr<const Tokenizer> made(std::string_view json, std::string_view config = "") {
  auto tokenizer = Tokenizer::from_json(json, config);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

// Characters, some of them merged, spaces marked; an id is missing.
constexpr std::string_view kLlama = R"({
  "version": "1.0",
  "added_tokens": [
    {"id": 0, "content": "<unk>", "special": true, "normalized": false},
    {"id": 1, "content": "<s>", "special": true, "normalized": false},
    {"id": 2, "content": "</s>", "special": true, "normalized": false},
    {"id": 12, "content": "<tool>", "lstrip": true, "normalized": false}],
  "normalizer": {"type": "Sequence", "normalizers": [
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
  "post_processor": {"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
  "decoder": {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
  "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
    "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "<0xC3>": 3, "<0xA9>": 4, "▁": 5, "a": 6, "b": 7, "ab": 8,
              "▁ab": 10, "▁▁": 11},
    "merges": ["a b", ["▁", "ab"], "▁ ▁"]}})";

TEST(TokenizerJson, ReadsMergesOfCharacters) {
  const auto tokenizer = made(kLlama);
  EXPECT_EQ(tokenizer->encode("ab ab"), (Tokens{1, 10, 10}));
  EXPECT_EQ(tokenizer->encode("  ab", {.add_special = false}), (Tokens{11, 10}));
  EXPECT_EQ(tokenizer->encode("é€x", {.add_special = false}), (Tokens{5, 3, 4, 0}));
  EXPECT_EQ(tokenizer->encode("a <tool>b</s>", {.add_special = false}),
            (Tokens{5, 6, 12, 5, 7, 2}));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("ab é b")), "ab é b");
  EXPECT_EQ(tokenizer->vocab().size(), 13);
  EXPECT_EQ(tokenizer->decode({{9}}), "");  // no token has it
  EXPECT_FALSE(tokenizer->vocab().add_bos());
}

TEST(TokenizerJson, TakesRolesFromTheConfiguration) {
  const auto tokenizer = made(
      kLlama, R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "add_eos_token": true})");
  EXPECT_EQ(tokenizer->encode("ab"), (Tokens{1, 10, 2}));
  EXPECT_TRUE(tokenizer->vocab().add_bos());
  EXPECT_EQ(tokenizer->vocab().ends_of_generation(), (Tokens{2}));
  const auto bare = made(kLlama, R"({"bos_token": "<s>", "add_bos_token": false})");
  EXPECT_EQ(bare->encode("ab"), (Tokens{10}));
  const auto wrong = Tokenizer::from_json(kLlama, R"({"bos_token": "<bos>"})");
  EXPECT_EQ(message_of(wrong.status()),
            "tokenizer_config.json: bos_token is not in the vocabulary");
}

TEST(TokenizerJson, IsFilledUpToAModelsRows) {
  const auto tokenizer = Tokenizer::from_json(kLlama, "", 20).value();
  EXPECT_EQ(tokenizer->vocab().size(), 20);
  EXPECT_EQ(tokenizer->vocab().kind(19), TokenKind::kUnused);
  EXPECT_EQ(tokenizer->decode({{6, 19, 7}}), "ab");
  EXPECT_EQ(tokenizer->encode("ab ab"), (Tokens{1, 10, 10}));
  EXPECT_EQ(Tokenizer::from_json(kLlama, "", 5).value()->vocab().size(), 13);
}

TEST(TokenizerJson, WrittenTextNeverBecomesAControlToken) {
  const auto tokenizer = made(kLlama);
  const Tokens tokens = tokenizer->encode(MarkedText{"ab</s></s>", {{2, 6}}});
  EXPECT_EQ(std::ranges::count(tokens, 2), 1);
  EXPECT_EQ(std::ranges::count(tokenizer->encode("</s>", {.parse_special = false}), 2), 0);
  // Also where the token is looked for in normalised text.
  std::string json(kLlama);
  const std::string plain = R"("content": "</s>", "special": true, "normalized": false)";
  json.replace(json.find(plain), plain.size(),
               R"("content": "</s>", "special": true, "normalized": true)");
  const auto normalised = made(json);
  EXPECT_EQ(normalised->encode("</s>", {.add_special = false}), (Tokens{2}));
  EXPECT_EQ(std::ranges::count(normalised->encode(MarkedText{"</s>", {{1, 3}}}), 2), 0);
}

TEST(TokenizerJson, StreamsWhatItDecodes) {
  const auto tokenizer = made(kLlama);
  const Tokens tokens = tokenizer->encode("ab é  b", {.add_special = false});
  TextStream stream(*tokenizer, {.at_start = true});
  std::string joined;
  for (const TokenId id : tokens) joined += stream.push(id);
  EXPECT_EQ(joined + stream.finish(), tokenizer->decode(tokens));
}

struct Refused {
  std::string from, to;  // what is changed in kLlama
  std::string says;
};

TEST(TokenizerJson, RefusesByPath) {
  const std::string long_token(2000, 'x');
  for (const auto& [from, to, says] : std::vector<Refused>{
           {"\"ab\": 8", "\"ab\": 2147483648", "model.vocab.ab is 2147483648"},
           {"\"ab\": 8", "\"ab\": -1", "model.vocab.ab is -1"},
           {"\"ab\": 8", "\"ab\": 99999999", "model.vocab.ab has id 99999999; 15 tokens"},
           {"\"ab\": 8", "\"ab\": 7", "has id 7, as another token does"},
           {"\"ab\": 8", "\"ab\": \"8\"", "model.vocab.ab is string, not an integer"},
           {"\"ab\": 8", "\"a b\": 8.5", "model.vocab[\"a b\"] is number, not an integer"},
           {"\"ab\": 8", "\"ab\": 8, \"ab\": 9", "the key 'ab' twice"},
           {"\"ab\": 8", "\"ab\": 8, \"" + long_token + "\": 9", "is a token of 2000 bytes"},
           {"\"id\": 12", "\"id\": 4294967296", "added_tokens[3].id is 4294967296"},
           {"\"id\": 12", "\"id\": 8", "added_tokens[3] has id 8, as another token does"},
           {"\"id\": 2,", "\"id\": 13,", "added_tokens[2] has id 13; the same token has id 2"},
           {"\"content\": \"<tool>\"", "\"content\": 5", "added_tokens[3].content is number"},
           {"\"a b\"", "\"ab\"", "model.merges[0] is not two tokens"},
           {"\"a b\"", "\"a q\"", "model.merges[0]: the vocabulary lacks the right token"},
           {"\"a b\"", "\"b a\"", "model.merges[0]: the vocabulary lacks what they join to"},
           {"[\"▁\", \"ab\"]", "[\"▁\"]", "model.merges[1] is not two tokens"},
           {"[\"▁\", \"ab\"]", "7", "model.merges[1] is number, not a string"},
           {"\"BPE\"", "\"Neural\"", "model.type is 'Neural'"},
           {"\"BPE\"", "\"" + long_token + "\"", "model.type is 'xxx"},
           {"\"ab\": 8", "\"" + long_token + "\": 1, \"" + long_token + "\": 1",
            "has the key \"xxx"},
           {"\"type\": \"BPE\"", "\"type\": \"BPE\", \"dropout\": 0.1", "model.dropout is 0.1"},
           {"\"Prepend\"", "\"Transliterate\"", "normalizer.normalizers[0] is a 'Transliterate'"},
           {"{\"String\": \" \"}", "{\"Regex\": \"(\"}", "normalizer.normalizers[1].pattern"},
           {"\"ByteFallback\"", "\"CTC\"", "decoder.decoders[1] is a 'CTC'"},
           {"\"ids\": [1]", "\"ids\": [13]", "post_processor.special_tokens[\"<s>\"].ids[0] is 13"},
           {"\"id\": \"A\"", "\"id\": \"B\"", "post_processor.single[1]"},
           {"\"version\": \"1.0\"", "\"pre_tokenizer\": {\"type\": \"Words\"}",
            "pre_tokenizer is a 'Words'"},
           {"\"unk_token\": \"<unk>\"", "\"unk_token\": \"?\"", "model.unk_token is not in"},
           {"\"ab\": 8", "\"a\xFF\": 8", "is not valid JSON near byte"},
           {"\"ab\": 8", "\"\\ud800\": 8", "is not valid JSON near byte"},
           {"\"merges\"", "\"mergers\"", "model.merges is missing, not an array"}}) {
    std::string json(kLlama);
    ASSERT_NE(json.find(from), std::string::npos) << from;
    json.replace(json.find(from), from.size(), to);
    const auto tokenizer = Tokenizer::from_json(json);
    EXPECT_FALSE(tokenizer.ok()) << says;
    EXPECT_THAT(std::string(message_of(tokenizer.status())), testing::HasSubstr(says));
    EXPECT_LT(message_of(tokenizer.status()).size(), 500);
  }
  EXPECT_FALSE(Tokenizer::from_json("").ok());
  EXPECT_FALSE(Tokenizer::from_json("[]").ok());
  EXPECT_THAT(std::string(message_of(Tokenizer::from_json("{}").status())),
              testing::HasSubstr("model.type"));
  const std::string deep = "{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}";
  EXPECT_THAT(std::string(message_of(Tokenizer::from_json(deep).status())),
              testing::HasSubstr("nested deeper"));
}

TEST(TokenizerJson, ATextCannotGrowWithoutBound) {
  std::string json(kLlama);
  const std::string step = R"({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"},)";
  std::string steps;
  for (int i = 0; i < 40; ++i) steps += step;
  json.insert(json.find(R"({"type": "Prepend")"), steps);
  EXPECT_THAT(std::string(message_of(Tokenizer::from_json(json).status())),
              testing::HasSubstr("normalizer can make a text more than"));
}

TEST(TokenizerJson, AHundredThousandAddedTokensWork) {
  std::string json = R"({"added_tokens": [)";
  constexpr int kAdded = 100000;
  for (int i = 0; i < kAdded; ++i) {
    json += fmt::format(R"({}{{"id": {}, "content": "<{}>", "special": true}})", i == 0 ? "" : ",",
                        i + 1, i);
  }
  json += R"(], "model": {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"}})";
  const auto tokenizer = made(json);
  EXPECT_EQ(tokenizer->encode("<99999>x<0>"), (Tokens{100000, 0, 1}));
}

// Byte-level, as kLlama's kind of file has it.
std::string byte_level_json() {
  std::string vocab;
  int moved = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const bool itself = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
    vocab += fmt::format(R"({}"\u{:04x}": {})", byte == 0 ? "" : ", ",
                         itself ? byte : 0x100 + moved++, byte);
  }
  return R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
             "decoder": {"type": "ByteLevel"},
             "model": {"type": "BPE", "merges": ["a a", "aa aa", "Ġ Ġ"], "vocab": {)" +
         vocab + R"(, "aa": 256, "aaaa": 257, "ĠĠ": 258}}})";
}

TEST(TokenizerJson, ByteLevelGoesThereAndBack) {
  const auto tokenizer = made(byte_level_json());
  const auto repeated = [](std::string_view text) {
    std::string out;
    while (out.size() < 1 << 20) out += text;
    return out;
  };
  for (const std::string& text :
       {std::string("hello é 世界 👩\u200d👩 \x7f"), std::string("a\xff\xe4\xb8 \x80z\xc3"),
        repeated("a"), repeated(" "), repeated("\u0301"), repeated("👩\u200d"), repeated("\n")}) {
    const Tokens tokens = tokenizer->encode(text);
    EXPECT_EQ(tokenizer->decode(tokens), text);
    EXPECT_LE(tokens.size(), text.size());
  }
  EXPECT_EQ(tokenizer->encode(repeated("a")).size(), 1 << 18);
}

}  // namespace
}  // namespace millrace
