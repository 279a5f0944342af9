#include "text/split/pretokenize.h"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "text/split/split_patterns.h"

namespace millrace {
namespace {

using Words = std::vector<std::string_view>;

Pretokenizer pretokenizer(std::vector<SplitStep> steps, bool scan = true) {
  for (SplitStep& step : steps) {
    if (!scan) step.scan.reset();
  }
  auto pretokenizer = Pretokenizer::create(steps);
  EXPECT_TRUE(pretokenizer.ok()) << pretokenizer.status();
  return *std::move(pretokenizer);
}

std::vector<SplitStep> steps_of(const SplitPattern& pattern) {
  return {pattern.used_steps().begin(), pattern.used_steps().end()};
}

Words split(const Pretokenizer& pretokenizer, std::string_view text) {
  Words words;
  pretokenizer.split(text, [&words](std::string_view word) { words.push_back(word); });
  return words;
}

Words split(SplitStep step, std::string_view text) { return split(pretokenizer({step}), text); }

// Texts pretokenizer of what the patterns look at, so that every alternative and every border is
// met.
std::string random_text(std::mt19937& random) {
  static const std::vector<std::string> parts = {"a",
                                                 "B",
                                                 "s",
                                                 "S",
                                                 "t",
                                                 "re",
                                                 "VE",
                                                 "ll",
                                                 "é",
                                                 "É",
                                                 "ǅ",
                                                 "ʰ",
                                                 "ſ",
                                                 "中",
                                                 "か",
                                                 "가",
                                                 "'",
                                                 "'",
                                                 "'s",
                                                 "1",
                                                 "2",
                                                 "½",
                                                 "٣",
                                                 " ",
                                                 " ",
                                                 " ",
                                                 "\n",
                                                 "\r",
                                                 "\t",
                                                 "\v",
                                                 "\xC2\xA0",
                                                 "\u2028",
                                                 "\u3000",
                                                 "\u180E",
                                                 ".",
                                                 "!",
                                                 "_",
                                                 "/",
                                                 "$",
                                                 "\u0301",
                                                 "\u0301",
                                                 "🦙",
                                                 "。",
                                                 "\u200B",
                                                 "‿",
                                                 "IMGIMGABZ",
                                                 "<sentinel:12>",
                                                 std::string(1, '\0')};
  std::string text;
  for (auto n = random() % 24; n > 0; --n) text += parts[random() % parts.size()];
  return text;
}

TEST(SplitPatterns, TheScannerCutsAsTheExpressionsDo) {
  std::mt19937 random(1);
  for (const SplitPattern& pattern : split_patterns()) {
    const Pretokenizer scanned = pretokenizer(steps_of(pattern));
    const Pretokenizer matched = pretokenizer(steps_of(pattern), /*scan=*/false);
    for (int i = 0; i < 3000; ++i) {
      const std::string text = random_text(random);
      ASSERT_EQ(split(scanned, text), split(matched, text)) << pattern.names << ": " << text;
    }
  }
}

// The models' tokenizer.json first cuts out the numbers, then splits the rest.
TEST(SplitPatterns, TwoExpressionsMadeOneCutAsTheTwo) {
  const SplitStep gpt2 = find_split_pattern("gpt-2")->steps[0];
  SplitStep minicpm{
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*)"
      R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"};
  std::mt19937 random(2);
  for (const auto& [name, two] : std::vector<std::pair<const char*, std::vector<SplitStep>>>{
           {"smollm", {{R"(\p{N})"}, gpt2}}, {"minicpm5", {{R"(\p{N}{1,3})"}, minicpm}}}) {
    const Pretokenizer one = pretokenizer(steps_of(*find_split_pattern(name)));
    const Pretokenizer both = pretokenizer(two);
    for (int i = 0; i < 6000; ++i) {
      const std::string text = random_text(random);
      ASSERT_EQ(split(one, text), split(both, text)) << name << ": " << text;
    }
  }
}

TEST(SplitPatterns, AreFoundByEachOfTheirNames) {
  EXPECT_EQ(find_split_pattern("llama3"), find_split_pattern("llama-bpe"));
  EXPECT_EQ(find_split_pattern("llama-v3"), find_split_pattern("llama-bpe"));
  for (const char* unknown : {"", " ", "llama", "llama3 llama-v3", "smollm "}) {
    EXPECT_EQ(find_split_pattern(unknown), nullptr) << unknown;
  }
  const std::string known = known_split_patterns();
  EXPECT_TRUE(known.starts_with("gpt-2, phi-2, ")) << known;
  EXPECT_TRUE(known.ends_with(", default")) << known;
}

TEST(SplitPatterns, NoTwoHaveTheSameName) {
  std::vector<std::string> names;
  const std::string known = known_split_patterns();
  for (size_t at = 0; at < known.size();) {
    const size_t end = std::min(known.find(", ", at), known.size());
    names.push_back(known.substr(at, end - at));
    at = end + 2;
  }
  EXPECT_GT(names.size(), 85);
  std::ranges::sort(names);
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end());
  for (const std::string& name : names) EXPECT_NE(find_split_pattern(name), nullptr) << name;
}

// U+3000 is a space, which may stand before a word, and punctuation, which is cut out of it again.
// Expected: what the published tokenizer's own library makes of it.
TEST(SplitPatterns, IdeographicSpacesOfDeepseekAreCutOut) {
  const Pretokenizer deepseek = pretokenizer(steps_of(*find_split_pattern("deepseek-llm")));
  const std::vector<std::pair<std::string_view, Words>> cases = {
      {"a\u3000b", {"a", "\u3000", "b"}},
      {"\u3000a", {"\u3000", "a"}},
      {"\u3000\u3000a", {"\u3000", "\u3000", "a"}},
      {" \u3000a", {" ", "\u3000", "a"}},
      {"\u3000 a", {"\u3000", " a"}},
      {"\u3000!", {"\u3000", "!"}},
      {"a\u3000\n", {"a", "\u3000", "\n"}},
      {"\u3000\u3000", {"\u3000\u3000"}},
      {"漢\u3000字", {"漢", "\u3000", "字"}},
      {"1\u30002", {"1", "\u3000", "2"}},
      {"a \u3000 b", {"a", " ", "\u3000", " b"}},
      {"\u3001\u3000x", {"\u3001", "\u3000", "x"}},
      {"\u2028a", {"\u2028", "a"}}};
  for (const auto& [text, words] : cases) EXPECT_EQ(split(deepseek, text), words) << text;
}

TEST(SplitPatterns, NumbersInThreesCountFromTheirEnds) {
  const auto words = [](const char* name, std::string_view text) {
    return split(pretokenizer(steps_of(*find_split_pattern(name))), text);
  };
  EXPECT_EQ(words("superbpe", "a1234567½"), (Words{"a", "1", "234", "567½"}));
  EXPECT_EQ(words("tiny_aya", "12345 1234x"), (Words{"12", "345", " ", "123", "4", "x"}));
  EXPECT_EQ(words("afmoe", "x12345½"), (Words{"x", "123", "45½"}));
}

TEST(Pretokenizer, MatchesBecomeWhatTheBehaviourSays) {
  const std::string_view text = "a--b-";
  const auto with = [&](SplitBehaviour behaviour, bool invert = false) {
    return split({.expression = "-", .behaviour = behaviour, .invert = invert}, text);
  };
  EXPECT_EQ(with(SplitBehaviour::kIsolated), (Words{"a", "-", "-", "b", "-"}));
  EXPECT_EQ(with(SplitBehaviour::kRemoved), (Words{"a", "b"}));
  EXPECT_EQ(with(SplitBehaviour::kMergedWithPrevious), (Words{"a-", "-", "b-"}));
  EXPECT_EQ(with(SplitBehaviour::kMergedWithNext), (Words{"a", "-", "-b", "-"}));
  EXPECT_EQ(with(SplitBehaviour::kContiguous), (Words{"a", "--", "b", "-"}));
  EXPECT_EQ(with(SplitBehaviour::kRemoved, true), (Words{"-", "-", "-"}));
  EXPECT_EQ(with(SplitBehaviour::kMergedWithNext, true), (Words{"a-", "-", "b-"}));
}

TEST(Pretokenizer, EmptyMatchesCutAndAreNoWords) {
  EXPECT_EQ(split({.expression = "(?=b)"}, "abéb"), (Words{"a", "bé", "b"}));
  EXPECT_EQ(split({.expression = "x*"}, "axxé"), (Words{"a", "xx", "é"}));
  EXPECT_EQ(split(pretokenizer({}), "a b"), Words{"a b"});
  EXPECT_EQ(split(pretokenizer({}), ""), Words{});
}

TEST(Pretokenizer, EscapesMeanWhatTheyMeantToTheirAuthors) {
  // U+180E is no space, U+3002 is used with Han but is not of it.
  EXPECT_EQ(split({.expression = R"(\s)"}, "\u180E\u3000a"), (Words{"\u180E", "\u3000", "a"}));
  EXPECT_EQ(split({.expression = R"(\p{Han}+)"}, "中。"), (Words{"中", "。"}));
  EXPECT_EQ(split({.expression = R"([\P{Han}\\]+)"}, "a\\中"), (Words{"a\\", "中"}));
}

TEST(Pretokenizer, RefusesWhatIsNoExpression) {
  const SplitStep broken{.expression = "a(b"};
  const auto refused = Pretokenizer::create(std::span(&broken, 1));
  EXPECT_TRUE(absl::IsInvalidArgument(refused.status())) << refused.status();
  EXPECT_NE(message_of(refused.status()).find("'a(b'"), std::string_view::npos);
}

TEST(SplitPatterns, LongRunsOfAnythingTakeLinearTime) {
  for (const SplitPattern& pattern : split_patterns()) {
    const Pretokenizer cutter = pretokenizer(steps_of(pattern));
    for (const std::string unit : {"a", "A", "中", " ", "\n", "'", "1", "\u3000", " \n", "🦙",
                                   "\u0301", "\u200D", "a ", "Aa"}) {
      std::string text;
      while (text.size() < (1U << 16)) text += unit;
      size_t bytes = 0;
      for (const std::string_view word : split(cutter, text)) bytes += word.size();
      ASSERT_EQ(bytes, text.size()) << pattern.names << ": " << unit;
    }
  }
}

}  // namespace
}  // namespace millrace
