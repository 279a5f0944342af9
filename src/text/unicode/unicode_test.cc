#include "text/unicode/unicode.h"

#include <vector>

#include <gtest/gtest.h>

namespace millrace {
namespace {

std::string replaced(std::string_view bytes) {
  std::string out;
  append_replaced(bytes, out);
  return out;
}

// What Python's bytes.decode("utf-8", errors="replace") gives.
TEST(Utf8, OneReplacementForEachMaximalSubpart) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", ""},
      {"h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\xA6\x99", "hé € 🦙"},
      {"\xFF", "�"},
      {"\x80\x80", "��"},
      {"\xC0\xAF", "��"},
      {"\xC3(", "�("},
      {"\xE0\x80\x80", "���"},
      {"\xE2\x82"
       "A",
       "�A"},
      {"\xE2\x82", "�"},
      {"\xED\xA0\x80", "���"},
      {"\xED\x9F\xBF", "\xED\x9F\xBF"},
      {"\xF0\x9F\xA6", "�"},
      {"\xF0\x9F\xA6 \xF0\x9F", "� �"},
      {"\xF0\x80\x80\x80", "����"},
      {"\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF"},
      {"\xF4\x90\x80\x80", "����"},
      {"\xF5\x80", "��"},
  };
  for (const auto& [bytes, expected] : cases) {
    EXPECT_EQ(replaced(bytes), expected);
    EXPECT_EQ(is_utf8(bytes), bytes == expected);
  }
}

TEST(Utf8, EveryCharacterGoesThereAndBack) {
  for (char32_t code = 0; code <= 0x10FFFF; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    std::string bytes;
    append_utf8(code, bytes);
    const Utf8Char c = decode_utf8(bytes);
    ASSERT_TRUE(c.valid && c.code == code && c.length == bytes.size()) << uint32_t{code};
    if (bytes.size() > 1) {
      bytes.pop_back();
      ASSERT_TRUE(decode_utf8(bytes).cut) << uint32_t{code};
    }
  }
}

TEST(Utf8, RangesMoveWithTheirBytesAndGrowToWholeCharacters) {
  // Two bytes that are no text, then "ab", a cut character, "é".
  const std::string bytes =
      "\xFF\xFF"
      "ab\xE2\x82\xC3\xA9";
  std::vector<ByteRange> ranges = {{1, 3}, {5, 6}, {7, 8}};
  EXPECT_EQ(replace_invalid(bytes, ranges), "��ab�é");
  const std::vector<std::pair<size_t, size_t>> expected = {{3, 7}, {8, 11}, {11, 13}};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(ranges[i].begin, expected[i].first);
    EXPECT_EQ(ranges[i].end, expected[i].second);
  }
}

TEST(CharClasses, FollowTheGeneralCategory) {
  const auto expect = [](CharClass expected, std::u32string_view characters) {
    for (const char32_t c : characters) EXPECT_EQ(char_class(c), expected) << uint32_t{c};
  };
  expect(kUpperChar, U"AÉǅ");
  expect(kLowerChar, U"aéß");
  expect(kCaselessChar, U"ʰ中\U00020000");
  expect(kMarkChar, U"\u0301\u0903\u20DD\U000E0100");
  expect(kNumberChar, U"7½Ⅷ٣");
  expect(kSpaceChar, U" \t\x85\xA0\u2028\u3000");
  expect(kOtherChar, U"._🦙\u180E\u200B\U0010FFFF");
}

}  // namespace
}  // namespace millrace
