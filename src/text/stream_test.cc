#include "text/stream.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fixtures/text/tiny_vocab.h"
#include "text/unicode/unicode.h"

namespace millrace {
namespace {

using Pieces = std::vector<std::string>;

const Tokenizer& tokenizer() {
  static const auto made = Tokenizer::create(tiny_bpe().metadata("gpt2", "gpt-2"));
  return **made;
}

Pieces pushed(TextStream& stream, const std::string& bytes) {
  Pieces pieces;
  for (const char byte : bytes) pieces.push_back(stream.push(static_cast<uint8_t>(byte)));
  return pieces;
}

TextStream with_stops(std::vector<std::string> stops, bool include_stop = false) {
  return {tokenizer(), {.stops = std::move(stops), .include_stop = include_stop}};
}

TEST(TextStream, LetsOutWholeCharactersOnly) {
  TextStream stream = with_stops({});
  EXPECT_EQ(pushed(stream, "aé\xF0\x9F\xA6\x99"), (Pieces{"a", "", "é", "", "", "", "🦙"}));
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, KnowsAtOnceWhatCannotBecomeACharacter) {
  TextStream stream = with_stops({});
  EXPECT_EQ(pushed(stream,
                   "\xC3"
                   "a\xFF\xE0\x80"),
            (Pieces{"", "�a", "�", "", "��"}));
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.push(0x9F), "");
  EXPECT_EQ(stream.finish(), "�");
}

TEST(TextStream, HoldsBackOnlyWhatMayBecomeAStop) {
  TextStream stream = with_stops({"END", "ENOUGH"});
  EXPECT_EQ(pushed(stream, "xEaENENOx"), (Pieces{"x", "", "Ea", "", "", "EN", "", "", "ENOx"}));
  EXPECT_EQ(pushed(stream, "END"), (Pieces{"", "", ""}));
  EXPECT_EQ(stream.stopped(), 0);
  EXPECT_EQ(pushed(stream, "more"), (Pieces{"", "", "", ""}));
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, GivesBackWhatWasHeldAtTheEnd) {
  TextStream stream = with_stops({"END"});
  EXPECT_EQ(pushed(stream, "xEN"), (Pieces{"x", "", ""}));
  EXPECT_EQ(stream.finish(), "EN");
  EXPECT_EQ(stream.stopped(), -1);
}

TEST(TextStream, TheStopThatEndsFirstWinsAtEqualEndsTheLongest) {
  TextStream first = with_stops({"abcd", "bc"});
  EXPECT_EQ(pushed(first, "xabcd"), (Pieces{"x", "", "", "a", ""}));
  EXPECT_EQ(first.stopped(), 1);
  TextStream longest = with_stops({"c", "bc", "abc", "bc"});
  EXPECT_EQ(pushed(longest, "xab"), (Pieces{"x", "", ""}));
  EXPECT_EQ(longest.push('c'), "");
  EXPECT_EQ(longest.stopped(), 2);
}

TEST(TextStream, KeepsTheStopWhereAsked) {
  TextStream stream = with_stops({"END"}, /*include_stop=*/true);
  std::string text;
  for (const std::string& piece : pushed(stream, "xENDy")) text += piece;
  EXPECT_EQ(text, "xEND");
  EXPECT_EQ(stream.stopped(), 0);
}

TEST(TextStream, StopsReachOverTokensAndEndInsideOne) {
  TextStream stream = with_stops({"o h"});
  EXPECT_EQ(stream.push(*tokenizer().vocab().find("hello")), "hell");
  EXPECT_EQ(stream.push(*tokenizer().vocab().find("Ġhello")), "");
  EXPECT_EQ(stream.stopped(), 0);
}

TEST(TextStream, ControlTokensAreLeftOutOrSpelled) {
  const TokenId end = *tokenizer().vocab().find("<|im_end|>");
  TextStream silent = with_stops({"|"});
  EXPECT_EQ(silent.push(0xC3), "");
  EXPECT_EQ(silent.push(end), "");
  EXPECT_EQ(silent.push(0xA9), "é");
  TextStream spelling(tokenizer(), {.skip_special = false});
  EXPECT_EQ(spelling.push(end), "<|im_end|>");
  EXPECT_EQ(spelling.push(100000), "");
}

// The text that comes at once, cut at the first stop.
std::string whole_text(const std::string& bytes, const TextStream::Options& options, int* stopped) {
  std::string text;
  append_replaced(bytes, text);
  *stopped = -1;
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (size_t i = 0; i < options.stops.size(); ++i) {
      std::string stop;
      append_replaced(options.stops[i], stop);
      if (!std::string_view(text).substr(0, end).ends_with(stop) || stop.size() <= longest)
        continue;
      longest = stop.size();
      *stopped = static_cast<int>(i);
    }
    if (longest > 0) return text.substr(0, options.include_stop ? end : end - longest);
  }
  return text;
}

// Nothing is held back but the beginning of a character or of a stop.
bool may_be_held(const std::string& held, const TextStream::Options& options) {
  for (size_t whole = 0; whole <= held.size(); ++whole) {
    const std::string_view rest = std::string_view(held).substr(whole);
    if (!rest.empty() && !decode_utf8(rest).cut) continue;
    const std::string_view text = std::string_view(held).substr(0, whole);
    if (text.empty()) return true;
    for (const std::string& stop : options.stops) {
      std::string replaced;
      append_replaced(stop, replaced);
      if (replaced.starts_with(text)) return true;
    }
  }
  return false;
}

// Any tokens of whole vocabularies, from the start of a text.
TEST(TextStream, PiecesJoinedAreWhatDecodeGives) {
  std::mt19937 random(9);
  Metadata spm = tiny_spm().metadata("llama");
  Metadata removing = tiny_spm().metadata("llama");
  removing.set_boolean("tokenizer.ggml.remove_extra_whitespaces", true);
  for (const Metadata& metadata :
       {tiny_bpe().metadata("gpt2", "gpt-2"), std::move(spm), std::move(removing)}) {
    const auto made = Tokenizer::create(metadata);
    ASSERT_TRUE(made.ok()) << made.status();
    for (int round = 0; round < 3000; ++round) {
      const bool skip_special = random() % 2 == 0;
      std::vector<TokenId> tokens;
      for (auto n = random() % 12; n > 0; --n) {
        const auto size = static_cast<unsigned>((*made)->vocab().size());
        tokens.push_back(static_cast<TokenId>(random() % 2 == 0 ? size - 1 - random() % 20
                                                                : random() % (size + 2)));
      }
      TextStream stream(**made, {.skip_special = skip_special, .at_start = true});
      std::string joined;
      for (const TokenId token : tokens) joined += stream.push(token);
      joined += stream.finish();
      std::string whole;
      append_replaced((*made)->decode(tokens, {.skip_special = skip_special}), whole);
      ASSERT_EQ(joined, whole);
    }
  }
}

std::string random_bytes(std::mt19937& random, size_t bytes_max) {
  static const std::string alphabet = "aab\xC3\xA9\xE2\x82\xAC\xF0\x9F\xFF";
  std::string bytes(1, alphabet[random() % alphabet.size()]);
  while (bytes.size() < bytes_max && random() % 8 != 0) {
    bytes += alphabet[random() % alphabet.size()];
  }
  return bytes;
}

TEST(TextStream, PiecesJoinedAreTheTextThatComesAtOnce) {
  std::mt19937 random(8);
  for (int round = 0; round < 20000; ++round) {
    TextStream::Options options{.include_stop = random() % 2 == 0};
    for (auto n = random() % 4; n > 0; --n) options.stops.push_back(random_bytes(random, 4));
    const std::string bytes = random_bytes(random, 40);
    TextStream stream(tokenizer(), options);
    std::string joined;
    for (size_t i = 0; i < bytes.size(); ++i) {
      const std::string piece = stream.push(static_cast<uint8_t>(bytes[i]));
      ASSERT_TRUE(is_utf8(piece));
      joined += piece;
      std::string so_far;
      append_replaced(bytes.substr(0, i + 1), so_far);
      if (stream.stopped() >= 0 || bytes.find('\xFF') != std::string::npos ||
          so_far != bytes.substr(0, i + 1))
        continue;
      ASSERT_TRUE(may_be_held(so_far.substr(joined.size()), options)) << bytes;
    }
    joined += stream.finish();
    int stopped = -1;
    ASSERT_EQ(joined, whole_text(bytes, options, &stopped));
    ASSERT_EQ(stream.stopped(), stopped);
  }
}

}  // namespace
}  // namespace millrace
