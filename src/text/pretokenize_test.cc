#include "text/pretokenize.h"

#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace millrace {
namespace {

using Words = std::vector<std::string_view>;

class Regex {
 public:
  explicit Regex(std::string_view expression) {
    int error = 0;
    size_t where = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                              PCRE2_UTF | PCRE2_UCP, &error, &where, nullptr));
    EXPECT_NE(code_, nullptr) << expression << " at " << where;
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
    match_.reset(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
  }

  // The matches in `text`, with what lies between them.
  Words split(std::string_view text) const {
    Words words;
    size_t at = 0;
    while (pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at, 0,
                       match_.get(), nullptr) > 0) {
      const size_t* range = pcre2_get_ovector_pointer(match_.get());
      if (range[0] > at) words.push_back(text.substr(at, range[0] - at));
      words.push_back(text.substr(range[0], range[1] - range[0]));
      at = range[1];
    }
    if (at < text.size()) words.push_back(text.substr(at));
    return words;
  }

 private:
  struct Free {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
    void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
  };
  std::unique_ptr<pcre2_code, Free> code_;
  std::unique_ptr<pcre2_match_data, Free> match_;
};

Words scanned(std::string_view text, const SplitRules& rules) {
  Words words;
  for (size_t at = 0; at < text.size();) {
    const size_t end = word_end(text, at, rules);
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

// Texts made of what the patterns look at, so that every alternative and every border is met.
std::string random_text(std::mt19937& random) {
  static const std::vector<std::string> parts = {
      "a",  "B",  "s",  "S",      "t",        "re",     "VE",
      "ll", "é",  "ſ",  "中",     "'",        "'",      "'s",
      "1",  "2",  "½",  "٣",      " ",        " ",      " ",
      "\n", "\r", "\t", "\v",     "\xC2\xA0", "\u2028", "\u3000",
      ".",  "!",  "_",  "\u0301", "🦙",     "\u200B", std::string(1, '\0')};
  std::string text;
  for (auto n = random() % 24; n > 0; --n) text += parts[random() % parts.size()];
  return text;
}

TEST(SplitPatterns, TheScannerCutsAsTheExpressionDoes) {
  std::mt19937 random(1);
  for (const SplitPattern& pattern : split_patterns()) {
    const Regex regex(pattern.expression);
    for (int i = 0; i < 8000; ++i) {
      const std::string text = random_text(random);
      ASSERT_EQ(scanned(text, pattern.rules), regex.split(text)) << pattern.names[0] << text;
    }
  }
}

// The models' tokenizer.json first cuts out each number, then splits the rest as gpt-2 does.
TEST(SplitPatterns, SmollmIsNumbersOneByOneAndThenGpt2) {
  const Regex numbers(R"(\p{N})");
  const Regex gpt2(find_split_pattern("gpt-2")->expression);
  std::mt19937 random(2);
  for (int i = 0; i < 8000; ++i) {
    const std::string text = random_text(random);
    Words expected;
    for (const std::string_view part : numbers.split(text)) {
      for (const std::string_view word : gpt2.split(part)) expected.push_back(word);
    }
    ASSERT_EQ(scanned(text, find_split_pattern("smollm")->rules), expected) << text;
  }
}

TEST(SplitPatterns, AreFoundByEachOfTheirNames) {
  EXPECT_EQ(find_split_pattern("llama3"), find_split_pattern("llama-bpe"));
  EXPECT_EQ(find_split_pattern("llama-v3"), find_split_pattern("llama-bpe"));
  EXPECT_EQ(find_split_pattern(""), nullptr);
  EXPECT_EQ(find_split_pattern("default"), nullptr);
  EXPECT_EQ(known_split_patterns(), "gpt-2, smollm, llama-bpe, llama3, llama-v3, qwen2");
}

TEST(SplitPatterns, MuchOfOneCharacterTakesLinearTime) {
  for (const SplitPattern& pattern : split_patterns()) {
    for (const std::string unit : {"a", " ", "\n", "'", "1", "\u3000", " \n", "🦙"}) {
      std::string text;
      while (text.size() < (1U << 18)) text += unit;
      size_t bytes = 0;
      for (const std::string_view word : scanned(text, pattern.rules)) bytes += word.size();
      EXPECT_EQ(bytes, text.size());
    }
  }
}

}  // namespace
}  // namespace millrace
