#include "text/vocab.h"

#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fixtures/text/tiny_vocab.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

using Ids = std::vector<TokenId>;

Metadata with_ids(Metadata metadata, std::vector<std::pair<std::string, int64_t>> ids) {
  for (auto& [name, id] : ids) {
    metadata.set_integer("tokenizer.ggml." + name, MetaType::kU32, id);
  }
  return metadata;
}

Vocab vocab_of(const Metadata& metadata) {
  auto vocab = Vocab::from(metadata, metadata.string_or("tokenizer.ggml.pre", "").value());
  EXPECT_TRUE(vocab.ok()) << vocab.status();
  return *std::move(vocab);
}

TEST(Vocab, ReadsTokensAndRoles) {
  const Vocab vocab = vocab_of(with_ids(tiny_spm().metadata("llama"), {{"bos_token_id", 1},
                                                                       {"eos_token_id", 2},
                                                                       {"unknown_token_id", 0},
                                                                       {"eot_token_id", 5},
                                                                       {"seperator_token_id", 7},
                                                                       {"padding_token_id", 8},
                                                                       {"mask_token_id", 9}}));
  EXPECT_EQ(vocab.size(), 277);
  EXPECT_EQ(vocab.text(3 + 0xAB), "<0xAB>");
  EXPECT_EQ(vocab.kind(3), TokenKind::kByte);
  EXPECT_EQ(vocab.score(261), -3);
  EXPECT_EQ(vocab.find("ll"), 261);
  EXPECT_EQ(vocab.find("lll"), std::nullopt);
  EXPECT_EQ(vocab.bos(), 1);
  EXPECT_EQ(vocab.eos(), 2);
  EXPECT_EQ(vocab.unknown(), 0);
  EXPECT_EQ(vocab.end_of_turn(), 5);
  EXPECT_EQ(vocab.end_of_message(), std::nullopt);
  EXPECT_EQ(vocab.separator(), 7);
  EXPECT_EQ(vocab.padding(), 8);
  EXPECT_EQ(vocab.mask(), 9);
  EXPECT_EQ(vocab.ends_of_generation(), (std::vector<TokenId>{2, 5}));
  EXPECT_TRUE(vocab.ends_generation(5));
  EXPECT_FALSE(vocab.ends_generation(3));
}

TEST(Vocab, NoTokenMayBeWrittenAsMinusOne) {
  const Vocab vocab = vocab_of(with_ids(tiny_spm().metadata("llama"),
                                        {{"bos_token_id", 1}, {"seperator_token_id", 0xFFFFFFFF}}));
  EXPECT_EQ(vocab.bos(), 1);
  EXPECT_EQ(vocab.separator(), std::nullopt);
}

TEST(Vocab, KnowsTheEndsOfTurnsByNameAndMakesThemControlTokens) {
  TinyVocab tiny = tiny_bpe();
  const TokenId end = tiny.add("<|eot_id|>", TokenKind::kUserDefined);
  const TokenId plain = tiny.add("</s>");
  const Vocab vocab = vocab_of(tiny.metadata("gpt2", "gpt-2"));
  EXPECT_EQ(vocab.ends_of_generation(), (std::vector<TokenId>{*vocab.find("<|im_end|>"), end}));
  EXPECT_EQ(vocab.kind(end), TokenKind::kControl);
  EXPECT_FALSE(vocab.ends_generation(plain));
}

TEST(Vocab, TellsPublishedEndsFromWordsThatLookLikeThem) {
  const auto ends = [](std::vector<std::pair<std::string, TokenKind>> tokens) {
    TinyVocab tiny;
    for (const auto& [text, kind] : tokens) tiny.add(text, kind);
    return vocab_of(tiny.metadata("gpt2")).ends_of_generation();
  };
  constexpr TokenKind kNormal = TokenKind::kNormal;
  constexpr TokenKind kControl = TokenKind::kControl;
  EXPECT_EQ(ends({{"</s>", kNormal}, {"<eos>", kNormal}, {"[e~[", kNormal}}), Ids{2});
  EXPECT_EQ(ends({{"</s>", kControl}, {"[EOS]", kControl}}), (Ids{0, 1}));
  EXPECT_EQ(ends({{"<|end|>", kControl}, {"<|call|>", kControl}}), (Ids{0, 1}));
  EXPECT_EQ(ends({{"<|end|>", kControl}, {"<|call|>", kControl}, {"<|return|>", kControl}}),
            (Ids{1, 2}));
  EXPECT_EQ(
      ends({{"<|fim_pad|>", kNormal}, {"<|file_sep|>", kNormal}, {"<|fim_prefix|>", kNormal}}),
      (Ids{0, 1}));
}

TEST(Vocab, KnowsInfillTokensByKeyAndByName) {
  TinyVocab tiny;
  for (const char* text : {"<|fim_prefix|>", "<fim_suffix>", "▁<MID>", "<PAD>", "<reponame>",
                           "<|file_sep|>", "mine"}) {
    tiny.add(text);
  }
  const Vocab named = vocab_of(tiny.metadata("gpt2"));
  EXPECT_EQ(named.infill().prefix, 0);
  EXPECT_EQ(named.infill().suffix, 1);
  EXPECT_EQ(named.infill().middle, 2);
  EXPECT_EQ(named.infill().padding, 3);
  EXPECT_EQ(named.infill().repository, 4);
  EXPECT_EQ(named.infill().file, 5);
  EXPECT_EQ(named.kind(2), TokenKind::kControl);
  const Vocab keyed =
      vocab_of(with_ids(tiny.metadata("gpt2"), {{"fim_pre_token_id", 6}, {"suffix_token_id", 5}}));
  EXPECT_EQ(keyed.infill().prefix, 6);
  EXPECT_EQ(keyed.infill().suffix, 5);
  EXPECT_EQ(keyed.kind(0), TokenKind::kNormal);
}

TEST(Vocab, KnowsWhichPublishedTokensStrip) {
  TinyVocab tiny;
  for (const char* text : {"<s>", "</s>", "<|end|>", "<mask>"}) tiny.add(text, TokenKind::kControl);
  Metadata phi = tiny.metadata("llama");
  phi.set_string("general.name", "Phi-3-mini");
  const Vocab stripping = vocab_of(phi);
  EXPECT_FALSE(stripping.strips(0).right);
  EXPECT_TRUE(stripping.strips(1).right);
  EXPECT_TRUE(stripping.strips(2).right);
  EXPECT_FALSE(stripping.strips(2).left);
  // The unknown token does not, of whatever kind the file says it is.
  for (const TokenKind kind : {TokenKind::kControl, TokenKind::kUserDefined, TokenKind::kUnknown}) {
    TinyVocab other;
    other.add("<unk>", kind);
    other.add("</s>", TokenKind::kNormal);
    other.add("<|endoftext|>", kind);
    Metadata metadata = other.metadata("llama");
    metadata.set_string("general.name", "Phi3 mini");
    const Vocab vocab = vocab_of(metadata);
    EXPECT_FALSE(vocab.strips(0).right);
    EXPECT_TRUE(vocab.strips(1).right);
    EXPECT_FALSE(vocab.strips(2).right);
  }
  EXPECT_TRUE(vocab_of(tiny.metadata("gpt2", "jina-v2-code")).strips(3).left);
  EXPECT_FALSE(vocab_of(tiny.metadata("gpt2", "gpt-2")).strips(3).left);
}

TEST(Vocab, BeginsPromptsAsTheFieldDoes) {
  const auto adds = [](const Metadata& metadata) {
    return vocab_of(with_ids(metadata, {{"bos_token_id", 1}})).add_bos();
  };
  EXPECT_TRUE(adds(tiny_spm().metadata("llama")));
  EXPECT_TRUE(adds(tiny_bpe().metadata("gpt2", "llama-bpe")));
  EXPECT_FALSE(adds(tiny_bpe().metadata("gpt2", "gpt-2")));
  EXPECT_FALSE(adds(tiny_bpe().metadata("gpt2", "smollm")));
  EXPECT_FALSE(adds(tiny_bpe().metadata("gpt2", "qwen2")));
  EXPECT_FALSE(vocab_of(tiny_spm().metadata("llama")).add_bos());  // there is none
  Metadata said = tiny_bpe().metadata("gpt2", "qwen2");
  said.set_boolean("tokenizer.ggml.add_bos_token", true);
  EXPECT_TRUE(adds(said));
}

TEST(Vocab, ViewsStayWhereTheyAreWhenItMoves) {
  Vocab vocab = vocab_of(tiny_bpe().metadata("gpt2", "gpt-2"));
  const Vocab moved = std::move(vocab);
  EXPECT_EQ(moved.find("hello"), 259);
  EXPECT_EQ(moved.text(259), "hello");
}

struct Hostile {
  std::string what;
  std::function<void(TinyVocab&)> change;
  std::function<void(Metadata&)> lie;
  std::string says;  // all of the message that matters
};

const auto kNoChange = [](TinyVocab&) {};
const auto kNoLie = [](Metadata&) {};

std::vector<Hostile> hostile_vocabularies() {
  const auto id = [](std::string name, int64_t value) {
    return [=](Metadata& metadata) {
      metadata.set_integer("tokenizer.ggml." + name, MetaType::kI64, value);
    };
  };
  return {
      {"no tokens", [](TinyVocab& v) { v.tokens.clear(); }, kNoLie, "tokens' is empty"},
      {"bos too high", kNoChange, id("bos_token_id", 277), "bos_token_id' is 277"},
      {"eos negative", kNoChange, id("eos_token_id", -1), "eos_token_id' is -1"},
      {"mask too high", kNoChange, id("mask_token_id", 1 << 20), "mask_token_id' is 1048576"},
      {"infill", kNoChange, id("fim_pre_token_id", 1000), "fim_pre_token_id' is 1000"},
      {"old infill", kNoChange, id("middle_token_id", -2), "middle_token_id' is -2"},
      {"eot of 32 bits", kNoChange, id("eot_token_id", 0xFFFFFFFE), "eot_token_id' is 4294967294"},
      {"twice", [](TinyVocab& v) { v.tokens[9] = v.tokens[5]; }, kNoLie,
       "index 9: the same token as index 5"},
      {"long", [](TinyVocab& v) { v.tokens[7] = std::string(2000, 'x'); }, kNoLie, "index 7"},
      {"few scores", [](TinyVocab& v) { v.scores.pop_back(); }, kNoLie,
       "scores' has 276 entries, the vocabulary has 277"},
      {"few kinds", [](TinyVocab& v) { v.kinds.pop_back(); }, kNoLie, "token_type' has 276"},
      {"kind", [](TinyVocab& v) { v.kinds[4] = 7; }, kNoLie, "index 4: 7 is no kind"},
      {"kind 0", [](TinyVocab& v) { v.kinds[4] = 0; }, kNoLie, "index 4: 0 is no kind"},
      {"score", [](TinyVocab& v) { v.scores[6] = std::numeric_limits<double>::quiet_NaN(); },
       kNoLie, "scores', index 6: not a finite"},
      {"byte", [](TinyVocab& v) { v.tokens[3] = "<0x-1>"; }, kNoLie, "index 3: a byte token"},
      {"byte digits", [](TinyVocab& v) { v.tokens[3] = "<0x1>"; }, kNoLie, "index 3: a byte token"},
      {"no byte, no unknown",
       [](TinyVocab& v) {
         v.tokens[3 + 0xFE] = "x";
         v.kinds[3 + 0xFE] = 1;
       },
       kNoLie, "no <0xFE>"},
      {"no bos to add", kNoChange,
       [](Metadata& m) { m.set_boolean("tokenizer.ggml.add_bos_token", true); }, "no bos_token_id"},
      {"no eos to add", kNoChange,
       [](Metadata& m) { m.set_boolean("tokenizer.ggml.add_eos_token", true); }, "no eos_token_id"},
      {"type", kNoChange, [](Metadata& m) { m.set_string("tokenizer.ggml.tokens", "a"); },
       "tokens' is string"},
  };
}

TEST(Vocab, RefusesWhatLies) {
  for (const Hostile& hostile : hostile_vocabularies()) {
    TinyVocab tiny = tiny_spm();
    hostile.change(tiny);
    Metadata metadata = tiny.metadata("llama");
    hostile.lie(metadata);
    const auto tokenizer = Tokenizer::create(metadata);
    EXPECT_TRUE(absl::IsInvalidArgument(tokenizer.status())) << hostile.what;
    EXPECT_THAT(std::string(message_of(tokenizer.status())), testing::HasSubstr(hostile.says));
  }
}

TEST(Vocab, RefusesMergesThatLie) {
  for (const auto& [merge, says] : std::vector<std::pair<std::string, std::string>>{
           {"ab", "index 1: not two tokens"},
           {"", "index 1: not two tokens"},
           {" a", "index 1: not two tokens"},
           {"a zz", "index 1: the vocabulary lacks the right token"},
           {"zz a", "index 1: the vocabulary lacks the left token"},
           {"z z", "index 1: the vocabulary lacks what they join to"},
           {"a ", "index 1: the vocabulary lacks the right token"}}) {
    TinyVocab tiny = tiny_bpe();
    tiny.merges[1] = merge;
    const auto tokenizer = Tokenizer::create(tiny.metadata("gpt2", "gpt-2"));
    EXPECT_TRUE(absl::IsInvalidArgument(tokenizer.status())) << merge;
    EXPECT_THAT(std::string(message_of(tokenizer.status())), testing::HasSubstr(says));
  }
}

TEST(Vocab, RefusesUnknownModelsAndPatternsByName) {
  const auto plamo = Tokenizer::create(tiny_bpe().metadata("plamo2"));
  EXPECT_TRUE(absl::IsUnimplemented(plamo.status())) << plamo.status();
  EXPECT_THAT(std::string(message_of(plamo.status())), testing::HasSubstr("'plamo2'"));
  const auto none = Tokenizer::create(tiny_bpe().metadata("none"));
  EXPECT_THAT(std::string(message_of(none.status())), testing::HasSubstr("has no vocabulary"));
  const auto ours = Tokenizer::create(tiny_bpe().metadata("gpt2", "ours"));
  EXPECT_TRUE(absl::IsUnimplemented(ours.status())) << ours.status();
  EXPECT_THAT(std::string(message_of(ours.status())), testing::HasSubstr("--pre NAME"));
  EXPECT_TRUE(Tokenizer::create(tiny_bpe().metadata("gpt2", "ours"), "qwen2").ok());
  for (const char* pre : {"gpt-3", "llama3 "}) {
    const auto tokenizer = Tokenizer::create(tiny_bpe().metadata("gpt2", pre));
    EXPECT_TRUE(absl::IsUnimplemented(tokenizer.status())) << tokenizer.status();
    EXPECT_THAT(std::string(message_of(tokenizer.status())), testing::HasSubstr("smollm"));
  }
  EXPECT_TRUE(absl::IsNotFound(Tokenizer::create(Metadata()).status()));
}

TEST(Vocab, EmptyTokensAndBrokenUtf8Work) {
  for (const auto& [tiny_vocab, model] : std::vector<std::pair<TinyVocab, std::string>>{
           {tiny_bpe(), "gpt2"}, {tiny_spm(), "llama"}}) {
    TinyVocab tiny = tiny_vocab;
    for (const auto kind : {TokenKind::kNormal, TokenKind::kControl, TokenKind::kUserDefined}) {
      tiny.add("", kind);
    }
    tiny.add("\xE2\x82", TokenKind::kNormal);
    const TokenId last = tiny.add("h\xFF\xC3", TokenKind::kUserDefined);
    const auto tokenizer = Tokenizer::create(tiny.metadata(model, "gpt-2"));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    const bool any_bytes = model == "gpt2";
    EXPECT_EQ((*tokenizer)->decode((*tokenizer)->encode("hello \xE2\x82 world")),
              any_bytes ? "hello \xE2\x82 world" : "hello � world");
    EXPECT_EQ((*tokenizer)->piece(last), "h\xFF\xC3");
    EXPECT_EQ((*tokenizer)->piece(last - 2), "");
  }
}

}  // namespace
}  // namespace millrace
