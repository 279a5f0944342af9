#include "apps/terminal/wrapped_text.h"

#include <gtest/gtest.h>

#include "apps/terminal/text_width.h"

namespace millrace {
namespace {

// The same whatever pieces the text comes in.
std::string wrapped(std::string_view text, int columns) {
  use_unicode_locale();
  WrappedText whole;
  std::string at_once = whole.push(text, columns);
  at_once += whole.finish(columns);
  WrappedText pieces;
  std::string out;
  for (size_t at = 0; at < text.size();) {
    size_t length = 1;
    while (at + length < text.size() && (text[at + length] & 0xc0) == 0x80) ++length;
    out += pieces.push(text.substr(at, length), columns);
    at += length;
  }
  EXPECT_EQ(out + pieces.finish(columns), at_once);
  return at_once;
}

TEST(WrappedText, BreaksBetweenWords) {
  EXPECT_EQ(wrapped("the mill turns", 8), "the mill\nturns");
  EXPECT_EQ(wrapped("the mill turns", 14), "the mill turns");
  EXPECT_EQ(wrapped("a\n\n  b c", 4), "a\n\n  b\nc");
  EXPECT_EQ(wrapped("", 4), "");
}

TEST(WrappedText, LongWordsAreLeftToTheTerminal) {
  EXPECT_EQ(wrapped("abcdefghij kl m", 4), "abcdefghij\nkl m");
  EXPECT_EQ(wrapped("abcdefghij k", 4), "abcdefghij k");
}

TEST(WrappedText, CountsColumns) {
  EXPECT_EQ(wrapped("水車水車", 4), "水車\n水車");
  EXPECT_EQ(wrapped("e\u0301e\u0301 e\u0301e\u0301", 5), "e\u0301e\u0301 e\u0301e\u0301");
}

TEST(WrappedText, SpellsControls) {
  EXPECT_EQ(wrapped("a\x1b[2Jb", 40), "a\\u{1b}[2Jb");
  EXPECT_EQ(wrapped("a\tb", 40), "a    b");
}

TEST(WrappedText, TheLastWordWaits) {
  WrappedText text;
  EXPECT_EQ(text.push("wa", 80), "");
  EXPECT_EQ(text.push("ter ru", 80), "water");
  EXPECT_EQ(text.finish(80), " ru");
}

}  // namespace
}  // namespace millrace
