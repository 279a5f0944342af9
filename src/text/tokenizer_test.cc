#include "text/tokenizer.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fixtures/text/tiny_vocab.h"
#include "text/pipeline/gguf_pipelines.h"
#include "text/pipeline/word_cache.h"
#include "text/split/split_patterns.h"

namespace millrace {
namespace {

using Ids = std::vector<TokenId>;

std::unique_ptr<const Tokenizer> tokenizer_of(const Metadata& metadata) {
  auto tokenizer = Tokenizer::create(metadata);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::unique_ptr<const Tokenizer> bpe(const std::string& pre = "gpt-2") {
  return tokenizer_of(tiny_bpe().metadata("gpt2", pre));
}

Metadata spm_metadata() {
  Metadata metadata = tiny_spm().metadata("llama");
  metadata.set_integer("tokenizer.ggml.bos_token_id", MetaType::kU32, 1);
  metadata.set_integer("tokenizer.ggml.eos_token_id", MetaType::kU32, 2);
  metadata.set_integer("tokenizer.ggml.unknown_token_id", MetaType::kU32, 0);
  return metadata;
}

Ids found(const Tokenizer& tokenizer, std::vector<std::string> spellings) {
  Ids ids;
  for (const std::string& spelling : spellings) {
    ids.push_back(tokenizer.vocab().find(spelling).value_or(-1));
  }
  return ids;
}

constexpr EncodeOptions kPlain{.add_special = false, .parse_special = false};

TEST(Bpe, MergesByRankWithinWords) {
  const auto tokenizer = bpe();
  EXPECT_EQ(tokenizer->encode("hello hello"), found(*tokenizer, {"hello", "Ġhello"}));
  EXPECT_EQ(tokenizer->encode("hell he l"), found(*tokenizer, {"hell", "Ġ", "he", "Ġ", "l"}));
  EXPECT_EQ(tokenizer->encode("aaaaaaa"), found(*tokenizer, {"aaaa", "aa", "a"}));
  EXPECT_EQ(tokenizer->encode("12"), found(*tokenizer, {"12"}));
  EXPECT_EQ(tokenizer->encode("é"), (Ids{0xC3, 0xA9}));
  EXPECT_EQ(tokenizer->encode(""), Ids{});
  EXPECT_EQ(bpe("smollm")->encode("12"), (Ids{'1', '2'}));
  EXPECT_EQ(bpe("qwen2")->encode("12"), (Ids{'1', '2'}));
}

TEST(Bpe, AWholeWordGoesBeforeMergesOnlyWhereThePatternSaysSo) {
  TinyVocab tiny = tiny_bpe();
  const TokenId world = tiny.add("world");
  EXPECT_EQ(tokenizer_of(tiny.metadata("gpt2", "llama-bpe"))->encode("world"), Ids{world});
  EXPECT_EQ(tokenizer_of(tiny.metadata("gpt2", "qwen2"))->encode("world").size(), 5);
}

TEST(Bpe, BytesWithoutATokenAreLeftOut) {
  TinyVocab tiny = tiny_bpe();
  tiny.tokens['z'] = "zz";
  const auto tokenizer = tokenizer_of(tiny.metadata("gpt2", "gpt-2"));
  EXPECT_EQ(tokenizer->encode("azhez"), found(*tokenizer, {"a", "he"}));
}

TEST(Bpe, TextNeverMergesIntoAControlToken) {
  TinyVocab tiny = tiny_bpe();
  tiny.add("xy", TokenKind::kControl);
  tiny.merge("x", "y");
  const auto tokenizer = tokenizer_of(tiny.metadata("gpt2", "gpt-2"));
  EXPECT_EQ(tokenizer->encode("xy", kPlain), (Ids{'x', 'y'}));
  EXPECT_EQ(tokenizer->encode("xy"), found(*tokenizer, {"xy"}));
}

TEST(Bpe, PiecesAreTheBytesTheySpell) {
  const auto tokenizer = bpe();
  for (TokenId id = 0; id < 256; ++id) {
    EXPECT_EQ(tokenizer->piece(id), std::string(1, static_cast<char>(id)));
  }
  EXPECT_EQ(tokenizer->piece(260), " hello");
  EXPECT_EQ(tokenizer->piece(*tokenizer->vocab().find("<|im_end|>")), "<|im_end|>");
  EXPECT_EQ(tokenizer->piece(-1), "");
  EXPECT_EQ(tokenizer->piece(tokenizer->vocab().size()), "");
}

TEST(Bpe, AnyBytesGoThereAndBack) {
  std::mt19937 random(5);
  const std::vector<std::string> parts = {"h", "e", "l",  "o", " ",    "\n",    "é",    "🦙",
                                          "1", "2", "'s", "a", "aaaa", "hello", "\xFF", "\xE2\x82"};
  for (const SplitPattern& pattern : split_patterns()) {
    if (pattern.of_characters) continue;
    const auto tokenizer = bpe(std::string(pattern.names.substr(0, pattern.names.find(' '))));
    for (int i = 0; i < 200; ++i) {
      std::string text;
      for (auto n = random() % 40; n > 0; --n) text += parts[random() % parts.size()];
      ASSERT_EQ(tokenizer->decode(tokenizer->encode(text)), text) << pattern.names;
    }
  }
}

TEST(Bpe, BytesThatAreNotUtf8AreTokensOfTheirOwn) {
  const auto tokenizer = bpe();
  EXPECT_EQ(tokenizer->encode("he\xFFhe\xE2\x82"), (Ids{256, 0xFF, 256, 0xE2, 0x82}));
  TinyVocab tiny = tiny_bpe();
  tiny.tokens[0xFF] = "zz";  // a byte without a token
  const auto lossy = tokenizer_of(tiny.metadata("gpt2", "gpt-2"));
  EXPECT_EQ(lossy->encode("a\xE2\x82"), (Ids{'a', 0xEF, 0xBF, 0xBD}));
}

TEST(Spm, MergesByScoreOverSpacesThatItAdds) {
  const auto tokenizer = tokenizer_of(spm_metadata());
  EXPECT_EQ(tokenizer->encode("hello", kPlain), found(*tokenizer, {"▁hello"}));
  EXPECT_EQ(tokenizer->encode("hello"), found(*tokenizer, {"<s>", "▁hello"}));
  EXPECT_EQ(tokenizer->encode(""), found(*tokenizer, {"<s>"}));
  EXPECT_EQ(tokenizer->encode(" hello", kPlain), found(*tokenizer, {"▁▁", "h", "e", "ll", "o"}));
  EXPECT_EQ(tokenizer->encode("word hello", kPlain),
            found(*tokenizer, {"▁", "w", "or", "d", "▁hello"}));
  EXPECT_EQ(tokenizer->encode("▁hello", kPlain), tokenizer->encode(" hello", kPlain));
  EXPECT_EQ(tokenizer->encode("h\n", kPlain), found(*tokenizer, {"▁h", "<0x0A>"}));
  EXPECT_EQ(tokenizer->encode("é", kPlain), found(*tokenizer, {"▁", "<0xC3>", "<0xA9>"}));
}

TEST(Spm, AddsNoSpaceWhereTheFileSaysSo) {
  Metadata metadata = spm_metadata();
  metadata.set_boolean("tokenizer.ggml.add_space_prefix", false);
  const auto tokenizer = tokenizer_of(metadata);
  EXPECT_EQ(tokenizer->encode("hello", kPlain), found(*tokenizer, {"h", "e", "ll", "o"}));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(" hello")), " hello");
}

TEST(Spm, ASpaceComesAfterEverySpecialToken) {
  const auto tokenizer = tokenizer_of(spm_metadata());
  EXPECT_EQ(tokenizer->encode("hello</s>hello"),
            found(*tokenizer, {"<s>", "▁hello", "</s>", "▁hello"}));
}

TEST(Spm, DecodeTakesBackTheSpaceThatEncodeAdded) {
  const auto tokenizer = tokenizer_of(spm_metadata());
  for (const char* text : {"hello", " hello", "  hello hello", "", " ", "é🦙\n hello", "word"}) {
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  }
  const Ids ids = found(*tokenizer, {"<s>", "▁hello", "<unk>", "</s>"});
  EXPECT_EQ(tokenizer->decode(ids), "hello");
  EXPECT_EQ(tokenizer->decode(ids, {.skip_special = false}), "<s> hello<unk></s>");
}

TEST(Spm, ARunWithoutBytesIsOneUnknownToken) {
  TinyVocab tiny = tiny_spm();
  for (size_t byte = 0x80; byte < 256; ++byte) {
    tiny.tokens[3 + byte] = "unused" + std::to_string(byte);
    tiny.kinds[3 + byte] = static_cast<int64_t>(TokenKind::kUnused);
  }
  Metadata metadata = tiny.metadata("llama");
  metadata.set_integer("tokenizer.ggml.unknown_token_id", MetaType::kU32, 0);
  const auto tokenizer = tokenizer_of(metadata);
  EXPECT_EQ(tokenizer->encode("éaéé", kPlain), found(*tokenizer, {"▁", "<unk>", "a", "<unk>"}));
}

TEST(Spm, TextNeverMergesIntoAControlToken) {
  TinyVocab tiny = tiny_spm();
  for (const char* piece : {"<", "/", "s", ">", "</", "s>"})
    tiny.add(piece, TokenKind::kNormal, -9);
  const auto tokenizer = tokenizer_of(tiny.metadata("llama"));
  EXPECT_EQ(tokenizer->encode("</s>", kPlain), found(*tokenizer, {"▁", "</", "s>"}));
}

// Cutting at spaces is only allowed while no token reaches over one.
TEST(Spm, TokensThatReachOverASpaceAreFound) {
  TinyVocab tiny = tiny_spm();
  tiny.add("o▁", TokenKind::kNormal, 0);
  const TokenId over = tiny.add("o▁h", TokenKind::kNormal, 1);
  const auto tokenizer = tokenizer_of(tiny.metadata("llama"));
  const Ids ids = tokenizer->encode("hello hello", kPlain);
  EXPECT_EQ(std::ranges::count(ids, over), 1);
}

// Characters that are tokens only as part of others still merge.
TEST(Spm, PartsNeedNotBeTokens) {
  TinyVocab tiny = tiny_spm();
  const TokenId pair = tiny.add("你好", TokenKind::kNormal, 0);
  const auto tokenizer = tokenizer_of(tiny.metadata("llama"));
  EXPECT_EQ(tokenizer->encode("你好", kPlain).back(), pair);
  EXPECT_EQ(tokenizer->encode("你", kPlain).size(), 4);
}

// As gemma's newer files: the same spelling, merges in a list, and no space added.
TEST(Spm, MergesInTheOrderOfAListWhereThereIsOne) {
  TinyVocab tiny = tiny_spm();
  tiny.merges = {"l l", "h e", "a a", "he ll", "aa aa", "▁ he", "▁ hell"};
  tiny.add("he");
  const TokenId hell = tiny.add("hell");
  const auto tokenizer = tokenizer_of(tiny.metadata("gemma4"));
  EXPECT_EQ(tokenizer->encode("hello hell", kPlain),
            (Ids{hell, *tokenizer->vocab().find("o"), *tokenizer->vocab().find("▁hell")}));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(" é hello")), " é hello");
  tiny.merges.push_back("he x");
  const auto refused = Tokenizer::create(tiny.metadata("gpt2", "sarvam-moe"));
  EXPECT_NE(message_of(refused.status()).find("index 7"), std::string_view::npos);
}

TEST(Spm, RemovesExtraSpacesWhereTheFileSaysSo) {
  Metadata metadata = spm_metadata();
  metadata.set_boolean("tokenizer.ggml.remove_extra_whitespaces", true);
  const auto tokenizer = tokenizer_of(metadata);
  EXPECT_EQ(tokenizer->encode("  hello   hello ", kPlain), found(*tokenizer, {"▁hello", "▁hello"}));
  EXPECT_EQ(tokenizer->encode("   ", kPlain), Ids{});
  EXPECT_EQ(tokenizer->decode(found(*tokenizer, {"▁", "▁", "▁hello"})), "hello");
}

TEST(Encode, PutsBosAndEosWhereTheModelWantsThem) {
  Metadata metadata = spm_metadata();
  metadata.set_boolean("tokenizer.ggml.add_eos_token", true);
  const auto tokenizer = tokenizer_of(metadata);
  EXPECT_EQ(tokenizer->encode("hello"), found(*tokenizer, {"<s>", "▁hello", "</s>"}));
  EXPECT_EQ(tokenizer->encode("hello", kPlain).size(), 1);
}

TEST(Encode, UserDefinedTokensAreFoundAnywhereControlOnesWhereWanted) {
  TinyVocab tiny = tiny_bpe();
  tiny.add("hello!", TokenKind::kUserDefined);
  const auto tokenizer = tokenizer_of(tiny.metadata("gpt2", "gpt-2"));
  const std::string text = "hello!<|im_end|>";
  EXPECT_EQ(tokenizer->encode(text), found(*tokenizer, {"hello!", "<|im_end|>"}));
  EXPECT_EQ(tokenizer->encode(text, kPlain).front(), *tokenizer->vocab().find("hello!"));
  EXPECT_EQ(tokenizer->encode(text, kPlain).size(), 11);
  const MarkedText marked{text, {{0, text.size()}}};
  EXPECT_EQ(tokenizer->encode(marked), tokenizer->encode(text, kPlain));
}

TEST(MarkedText, WrittenControlTokensAreText) {
  for (const auto& tokenizer : {bpe("smollm"), bpe("qwen2"), bpe("llama-bpe")}) {
    const std::string head = "<|im_start|>user\n";
    for (const std::string written :
         {"hello<|im_end|>", "<|im_end|>", "<|im_", "hello", "é <|im_start|>"}) {
      for (const std::string tail : {"<|im_end|>\n", "end|>", ""}) {
        MarkedText marked{head + written + tail, {{head.size(), head.size() + written.size()}}};
        const Ids ids = tokenizer->encode(marked);
        EXPECT_EQ(tokenizer->decode(ids, {.skip_special = false}), marked.text);
        const auto ends = std::ranges::count(ids, *tokenizer->vocab().find("<|im_end|>"));
        EXPECT_EQ(ends, tail.starts_with("<|im_end|>") ? 1 : 0) << marked.text;
        EXPECT_EQ(std::ranges::count(ids, *tokenizer->vocab().find("<|im_start|>")), 1);
      }
    }
  }
}

TEST(MarkedText, MarksChangeNothingElse) {
  std::mt19937 random(6);
  const auto tokenizer = bpe();
  for (int i = 0; i < 500; ++i) {
    MarkedText marked;
    while (marked.text.size() < 30) marked.text += "heloa 1é\xFF"[random() % 9];
    for (size_t at = random() % 9; at < 29; at += 2 + random() % 6) {
      marked.written.push_back({at, at + 1});
    }
    ASSERT_EQ(tokenizer->encode(marked), tokenizer->encode(marked.text));
  }
}

TEST(MarkedText, RangesFollowTheirTextThroughRepairs) {
  for (const auto& tokenizer : {bpe(), tokenizer_of(spm_metadata())}) {
    const std::string control(tokenizer->vocab().text(tokenizer->is_special(2) ? 2 : 265));
    const std::string broken = "\xFF\xFF" + control;
    const Ids ids = tokenizer->encode(MarkedText{broken + control, {{0, broken.size()}}});
    EXPECT_EQ(std::ranges::count(ids, *tokenizer->vocab().find(control)), 1);
    EXPECT_TRUE(tokenizer->decode(ids, {.skip_special = false}).ends_with(control + control));
  }
}

TEST(Bpe, TheCacheChangesNoIds) {
  const TinyVocab tiny = tiny_bpe();
  const auto with_cache = [&tiny](size_t words) {
    MergeList merges{"merges ", ""};
    for (const std::string_view merge : tiny.merges) {
      const size_t space = merge.find(' ');
      merges.pairs.emplace_back(merge.substr(0, space), merge.substr(space + 1));
    }
    auto made = create_byte_level(*Vocab::from(tiny.metadata("gpt2")), merges,
                                  *find_split_pattern("qwen2"), words);
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  };
  const auto tiny_cache = with_cache(1);
  const auto whole_cache = with_cache(WordCache::kWords);
  std::mt19937 random(12);
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (auto n = random() % 60; n > 0; --n) text += "hello a1é \n"[random() % 12];
    const Ids cold = with_cache(2)->encode(text);
    ASSERT_EQ(tiny_cache->encode(text), cold);
    ASSERT_EQ(whole_cache->encode(text), cold);
    ASSERT_EQ(whole_cache->encode(text), cold);
  }
}

TEST(Encode, LongRunsOfAnythingAreNoTrouble) {
  for (const char* pre : {"gpt-2", "qwen2", "gpt-4o", "deepseek-v3", "default"}) {
    const auto tokenizer = bpe(pre);
    for (const std::string unit : {" ", "\u0301", "\u200D🦙", "\n ", "aA", "\xFF"}) {
      std::string text;
      while (text.size() < (1U << 16)) text += unit;
      ASSERT_EQ(tokenizer->decode(tokenizer->encode(text)), text) << pre << ": " << unit;
    }
  }
}

TEST(Encode, ManyAddedTokensWork) {
  TinyVocab tiny = tiny_bpe();
  for (int i = 0; i < 100000; ++i) {
    tiny.add(fmt::format("<{}>", i), i % 2 == 0 ? TokenKind::kControl : TokenKind::kUserDefined);
  }
  const auto tokenizer = tokenizer_of(tiny.metadata("gpt2", "gpt-2"));
  EXPECT_EQ(tokenizer->encode("<99999><77>he"), found(*tokenizer, {"<99999>", "<77>", "he"}));
}

TEST(Encode, AMegabyteOfOneLetterIsNoTrouble) {
  const std::string letters(1U << 20, 'a');
  EXPECT_EQ(bpe()->encode(letters).size(), letters.size() / 4);
  EXPECT_EQ(tokenizer_of(spm_metadata())->encode(letters).size(), 2 + letters.size() / 4);
}

TEST(Encode, ManyThreadsGetWhatOneGets) {
  for (const char* pre : {"llama-bpe", "deepseek-v3"}) {
    const auto shared = bpe(pre);
    std::vector<std::string> texts;
    std::vector<Ids> expected;
    std::mt19937 random(7);
    const auto alone = bpe(pre);
    for (int i = 0; i < 64; ++i) {
      std::string text;
      for (int n = 0; n < 200; ++n) text += "hello a1é \n"[random() % 12];
      texts.push_back(text);
      expected.push_back(alone->encode(text));
    }
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (size_t i = 0; i < 5 * texts.size(); ++i) {
          if (shared->encode(texts[i % texts.size()]) != expected[i % texts.size()]) ++wrong;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
  }
}

TEST(WordCache, KeepsShortWordsAndForgetsOnlyForNewerOnes) {
  WordCache cache;
  Ids ids = {7};
  EXPECT_FALSE(cache.find("word", ids));
  cache.keep("word", Ids{1, -1, 3});
  EXPECT_TRUE(cache.find("word", ids));
  EXPECT_EQ(ids, (Ids{7, 1, -1, 3}));
  EXPECT_FALSE(cache.find(std::string_view("word\0", 5), ids));
  cache.keep("none", Ids{});
  EXPECT_TRUE(cache.find("none", ids));
  const std::string at_limit(WordCache::kWordBytesMax, 'x');
  cache.keep(at_limit, Ids(WordCache::kTokensMax, 5));
  EXPECT_TRUE(cache.find(at_limit, ids));
  EXPECT_EQ(ids.size(), 4 + WordCache::kTokensMax);
  cache.keep(at_limit + "x", Ids{1});
  EXPECT_FALSE(cache.find(at_limit + "x", ids));
  cache.keep("long", Ids(WordCache::kTokensMax + 1, 5));
  EXPECT_FALSE(cache.find("long", ids));
}

// Writers and readers of the same few slots; whatever is found must be right.
TEST(WordCache, NeverTellsHalfAWord) {
  WordCache cache;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&cache, &wrong, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 100000; ++i) {
        const auto n = static_cast<TokenId>(random() % 40000);
        const std::string word = "word" + std::to_string(n);
        Ids ids;
        if (!cache.find(word, ids)) {
          cache.keep(word, Ids(static_cast<size_t>(n % 9), n));
        } else if (ids != Ids(static_cast<size_t>(n % 9), n)) {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace millrace
