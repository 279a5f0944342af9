#include "text/pipeline/special.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fixtures/text/tiny_vocab.h"

namespace millrace {
namespace {

bool overlap(size_t begin, size_t end, const ByteRange& range) {
  return begin < range.end && range.begin < end;
}

// The definition: lengths from the longest down, each from left to right through what is free.
std::vector<SpecialSearch::Found> found_one_by_one(const Vocab& vocab, const std::string& text,
                                                   const std::vector<ByteRange>& written,
                                                   bool control) {
  std::vector<SpecialSearch::Found> found;
  for (size_t bytes = text.size(); bytes > 0; --bytes) {
    for (size_t i = 0; i + bytes <= text.size(); ++i) {
      const auto id = vocab.find(std::string_view(text).substr(i, bytes));
      if (!id || vocab.kind(*id) == TokenKind::kNormal) continue;
      const bool blocked = std::ranges::any_of(
          written, [&](const ByteRange& range) { return overlap(i, i + bytes, range); });
      if (vocab.kind(*id) == TokenKind::kControl && (!control || blocked)) continue;
      const bool taken = std::ranges::any_of(found, [&](const SpecialSearch::Found& other) {
        return overlap(i, i + bytes, {other.begin, other.end});
      });
      if (!taken) found.push_back({i, i + bytes, *id});
    }
  }
  std::ranges::sort(found, {}, &SpecialSearch::Found::begin);
  return found;
}

std::string random_string(std::mt19937& random, size_t bytes_max) {
  std::string text;
  for (size_t n = random() % (bytes_max + 1); n > 0; --n) text += random() % 2 == 0 ? 'a' : 'b';
  return text;
}

TEST(SpecialSearch, FindsWhatSearchingOneByOneFinds) {
  std::mt19937 random(4);
  for (int round = 0; round < 3000; ++round) {
    TinyVocab tiny;
    tiny.add("x");
    for (auto n = random() % 6; n > 0; --n) {
      const std::string text = random_string(random, 5);
      if (std::ranges::find(tiny.tokens, text) != tiny.tokens.end()) continue;
      tiny.add(text, random() % 2 == 0 ? TokenKind::kControl : TokenKind::kUserDefined);
    }
    const auto vocab = Vocab::from(tiny.metadata("gpt2"));
    ASSERT_TRUE(vocab.ok()) << vocab.status();
    const std::string text = random_string(random, 24);
    std::vector<ByteRange> written;
    for (size_t at = random() % 8; at < text.size(); at += 1 + random() % 8) {
      const size_t end = std::min(text.size(), at + 1 + random() % 4);
      written.push_back({at, end});
      at = end;
    }
    const bool control = random() % 4 != 0;
    const auto found = SpecialSearch(*vocab).find({text, written}, control);
    const auto expected = found_one_by_one(*vocab, text, written, control);
    ASSERT_EQ(found.size(), expected.size()) << text;
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i].begin, expected[i].begin) << text;
      ASSERT_EQ(found[i].id, expected[i].id) << text;
    }
  }
}

TEST(SpecialSearch, ReadsTheEndOfASentenceWhereverItIsListed) {
  TinyVocab tiny;
  tiny.add("</s>");
  const auto vocab = Vocab::from(tiny.metadata("gpt2"));
  ASSERT_TRUE(vocab.ok());
  EXPECT_EQ(SpecialSearch(*vocab).find({"a</s>", {}}, true).size(), 1);
  EXPECT_EQ(SpecialSearch(*vocab).find({"a</s>", {}}, false).size(), 0);
}

TEST(SpecialSearch, TokensTakeTheSpacesTheyStrip) {
  TinyVocab tiny;
  for (const char* text : {"<l>", "<r>", "<n>"}) tiny.add(text, TokenKind::kControl);
  auto vocab = Vocab::from(tiny.metadata("gpt2"));
  ASSERT_TRUE(vocab.ok());
  vocab->set_strips(0, {.left = true});
  vocab->set_strips(1, {.right = true});
  const SpecialSearch search(*vocab);
  const auto ranges = [&search](std::string_view text) {
    std::vector<std::pair<size_t, size_t>> found;
    for (const auto& token : search.find({text, {}}, true))
      found.emplace_back(token.begin, token.end);
    return found;
  };
  using Ranges = std::vector<std::pair<size_t, size_t>>;
  EXPECT_EQ(ranges("a \n<l> "), (Ranges{{1, 6}}));
  EXPECT_EQ(ranges(" <r>\xE3\x80\x80 b"), (Ranges{{1, 8}}));
  EXPECT_EQ(ranges("<r>  <l>  <l>"), (Ranges{{0, 5}, {5, 8}, {8, 13}}));
  EXPECT_EQ(ranges("<n>  <n>"), (Ranges{{0, 3}, {5, 8}}));
}

TEST(SpecialSearch, NestedTokensOverALongRunStayCheap) {
  TinyVocab tiny;
  for (size_t n = 1; n <= 64; ++n) tiny.add(std::string(n, 'a'), TokenKind::kUserDefined);
  const auto vocab = Vocab::from(tiny.metadata("gpt2"));
  ASSERT_TRUE(vocab.ok());
  const std::string text((1U << 16) + 3, 'a');
  const auto found = SpecialSearch(*vocab).find({text, {}}, true);
  ASSERT_EQ(found.size(), (1U << 10) + 1);
  EXPECT_EQ(found.back().id, 2);
}

}  // namespace
}  // namespace millrace
