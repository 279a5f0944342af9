#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fixtures/text/tiny_vocab.h"
#include "text/models/unigram.h"
#include "text/models/wordpiece.h"
#include "text/pipeline/added_tokens.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

using Tokens = std::vector<TokenId>;

Tokens encoded(const WordModel& model, std::string_view word) {
  Tokens tokens;
  WordModel::Room room;
  model.encode_word(word, room, tokens);
  return tokens;
}

TEST(Trie, FindsTheLongest) {
  const Trie trie({{"a", 1}, {"abc", 2}, {"ab\xFF", 3}, {"", 4}, {"a", 5}});
  EXPECT_EQ(trie.longest("abcd").bytes, 3);
  EXPECT_EQ(trie.longest("abd").value, 1);
  EXPECT_EQ(trie.find("ab\xFF"), 3);
  EXPECT_EQ(trie.find("ab"), std::nullopt);
  EXPECT_EQ(trie.longest("").bytes, 0);
}

TEST(Unigram, TakesTheBestSum) {
  const std::vector<Unigram::Piece> pieces = {{"a", 1, 0},   {"b", 2, 0},    {"c", 3, 0},
                                              {"d", 4, 0},   {"cd", 5, 1},   {"ab", 6, 2},
                                              {"abc", 7, 5}, {"abcd", 8, 10}};
  const Unigram model(pieces, 0, 0, {});
  EXPECT_EQ(encoded(model, "abcdacdxx"), (Tokens{8, 1, 5, 0}));
  EXPECT_EQ(encoded(model, "abab"), (Tokens{6, 6}));
  EXPECT_EQ(encoded(model, "é"), (Tokens{0}));
  ByteTokens bytes;
  bytes.set(0xC3, 20);
  bytes.set(0xA9, 21);
  const Unigram with_bytes(pieces, 0, 0, bytes);
  EXPECT_EQ(encoded(with_bytes, "aéé€"), (Tokens{1, 0}));  // the run as a whole has no bytes
  EXPECT_EQ(encoded(with_bytes, "éa"), (Tokens{20, 21, 1}));
  EXPECT_EQ(encoded(Unigram(pieces, 0, std::nullopt, {}), "axb"), (Tokens{1, 2}));
}

TEST(Unigram, IsTheBestOfAllWaysToCut) {
  // Against every way to cut short words.
  const std::vector<Unigram::Piece> pieces = {{"a", 0, -3},  {"b", 1, -2.5},   {"aa", 2, -4},
                                              {"ab", 3, -4}, {"aab", 4, -8.2}, {"bba", 5, -5}};
  const Unigram model(pieces, -8.2, 9, {});
  for (unsigned bits = 0; bits < 256; ++bits) {
    std::string word;
    for (unsigned i = 0; i < 8; ++i) word += (bits >> i & 1) != 0 ? 'a' : 'b';
    std::vector<double> best(word.size() + 1, -1e9);
    best[0] = 0;
    for (size_t end = 1; end <= word.size(); ++end) {
      for (const auto& piece : pieces) {
        if (piece.text.size() > end) continue;
        const size_t begin = end - piece.text.size();
        if (word.substr(begin, piece.text.size()) != piece.text) continue;
        best[end] = std::max(best[end], best[begin] + piece.score);
      }
    }
    double sum = 0;
    std::string spelled;
    for (const TokenId id : encoded(model, word)) {
      sum += pieces[static_cast<size_t>(id)].score;
      spelled += pieces[static_cast<size_t>(id)].text;
    }
    EXPECT_EQ(spelled, word);
    EXPECT_DOUBLE_EQ(sum, best.back()) << word;
  }
}

TEST(WordPiece, TakesTheLongestOrTheWholeWordIsUnknown) {
  const WordPiece model({{"run", 1}, {"r", 2}}, {{"ning", 3}, {"n", 4}, {"s", 5}}, 0, 9);
  EXPECT_EQ(encoded(model, "running"), (Tokens{1, 3}));
  EXPECT_EQ(encoded(model, "runs"), (Tokens{1, 5}));
  EXPECT_EQ(encoded(model, "runx"), (Tokens{0}));
  EXPECT_EQ(encoded(model, "runnnnnnn"), (Tokens{1, 4, 4, 4, 4, 4, 4}));
  EXPECT_EQ(encoded(model, "runnnnnnnn"), (Tokens{0}));  // ten characters
}

TEST(AddedTokens, AreTheLeftmostAndLongestAndRespectTheirFlags) {
  const AddedTokens added({{.text = "<s>", .id = 1, .special = true},
                           {.text = "ab", .id = 2},
                           {.text = "abc", .id = 3, .single_word = true},
                           {.text = "<m>", .id = 4, .lstrip = true, .rstrip = true}});
  const auto found = [&](std::string_view text, std::vector<ByteRange> written = {},
                         bool special = true) {
    std::string out;
    for (const auto& one : added.find({text, written}, special)) {
      out += fmt::format("{}-{}:{} ", one.begin, one.end, one.id);
    }
    return out;
  };
  EXPECT_EQ(found("ab<s>"), "0-2:2 2-5:1 ");
  EXPECT_EQ(found("ab<s>", {}, false), "0-2:2 ");
  EXPECT_EQ(found("abc ab"), "0-3:3 4-6:2 ");
  EXPECT_EQ(found("abcd"), "");  // abc hides ab, and does not stand alone
  EXPECT_EQ(found("x  <m> y"), "1-7:4 ");
  EXPECT_EQ(found("<m> <m>"), "0-4:4 4-7:4 ");
  EXPECT_EQ(found("<s><s>", {{4, 5}}), "0-3:1 ");
  EXPECT_EQ(found("ab<s>", {{0, 3}}), "0-2:2 ");
}

std::unique_ptr<const Tokenizer> pipeline_of(const Metadata& metadata) {
  auto tokenizer = Tokenizer::create(metadata);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

TEST(GgufUnigram, ReadsAndSpellsText) {
  TinyVocab tiny = tiny_spm();
  tiny.add("<x>", TokenKind::kUserDefined);
  Metadata metadata = tiny.metadata("t5");
  metadata.set_integer("tokenizer.ggml.unknown_token_id", MetaType::kU32, 0);
  metadata.set_integer("tokenizer.ggml.eos_token_id", MetaType::kU32, 2);
  const auto tokenizer = pipeline_of(metadata);
  const auto pieces = [&](std::string_view text) {
    std::string out;
    for (const TokenId id : tokenizer->encode(text)) {
      out += std::string(tokenizer->vocab().text(id)) + "|";
    }
    return out;
  };
  EXPECT_EQ(pieces("hello  world "), "▁hello|▁|w|or|l|d|</s>|");
  EXPECT_EQ(pieces("hello<x>or"), "▁hello|<x>|▁|or|</s>|");
  EXPECT_EQ(pieces("é"), "▁|<0xC3>|<0xA9>|</s>|");
  EXPECT_EQ(pieces(""), "</s>|");
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("hello é world")), "hello é world");
  const std::string megabyte(1 << 20, 'a');
  EXPECT_EQ(tokenizer->encode(megabyte).size(), (1 << 18) + 2);  // ▁, aaaa ..., </s>
}

TEST(GgufWordPiece, ReadsAndTidiesText) {
  TinyVocab tiny;
  tiny.add("[PAD]", TokenKind::kControl);
  tiny.add("[UNK]", TokenKind::kControl);
  tiny.add("[CLS]", TokenKind::kControl);
  tiny.add("[SEP]", TokenKind::kControl);
  for (const char* piece : {"▁mill", "s", "▁a", "▁.", "▁水", "▁'", "▁s"}) tiny.add(piece);
  Metadata metadata = tiny.metadata("bert", "bert-bge");
  metadata.set_integer("tokenizer.ggml.unknown_token_id", MetaType::kU32, 1);
  metadata.set_integer("tokenizer.ggml.cls_token_id", MetaType::kU32, 2);
  metadata.set_integer("tokenizer.ggml.seperator_token_id", MetaType::kU32, 3);
  const auto tokenizer = pipeline_of(metadata);
  EXPECT_EQ(tokenizer->encode("MILLS a水."), (Tokens{2, 4, 5, 6, 8, 7, 3}));
  EXPECT_EQ(tokenizer->encode("á[SEP]"), (Tokens{2, 6, 3, 3}));
  EXPECT_EQ(tokenizer->encode("[sep] x", {.add_special = false}), (Tokens{1, 1, 1, 1}));
  EXPECT_EQ(tokenizer->encode(MarkedText{"a[SEP]", {{1, 3}}}, {.add_special = false}),
            (Tokens{6, 1, 1, 1}));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("Mill's a水.")), "mill ' s a 水.");
}

}  // namespace
}  // namespace millrace
