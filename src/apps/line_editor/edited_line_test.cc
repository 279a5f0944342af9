#include "apps/line_editor/edited_line.h"

#include <gtest/gtest.h>

#include "apps/line_editor/line_screen.h"
#include "apps/terminal/text_width.h"

namespace millrace {
namespace {

class Edited : public testing::Test {
 protected:
  Edited() { use_unicode_locale(); }

  void type(std::string_view bytes) {
    KeyParser parser;
    for (const KeyPress& press : parser.push(bytes)) line_.apply(press);
  }
  // The text with the cursor as a bar.
  std::string shown() const {
    return line_.text().substr(0, line_.cursor()) + "|" + line_.text().substr(line_.cursor());
  }

  EditedLine line_;
};

TEST_F(Edited, CursorMovesByCharacters) {
  type("ae\u0301\u6c34\x1b[D\x1b[D");
  EXPECT_EQ(shown(), "a|e\u0301\u6c34");
  type("\x1b[C");
  EXPECT_EQ(shown(), "ae\u0301|\u6c34");
  type("\x7f");
  EXPECT_EQ(shown(), "a|\u6c34");
  type("\x1b[3~\x1b[3~");
  EXPECT_EQ(shown(), "a|");
  type("\x7f\x7f\x7f");
  EXPECT_EQ(shown(), "|");
}

TEST_F(Edited, JoinedEmojiAreOneCharacter) {
  type("x\U0001f468\u200d\U0001f469\u200d\U0001f467\x7f");
  EXPECT_EQ(shown(), "x|");
}

TEST_F(Edited, WordsAndLines) {
  type("one two  three\x17");
  EXPECT_EQ(shown(), "one two  |");
  type(
      "\x1b"
      "b\x0b");
  EXPECT_EQ(shown(), "one |");
  type("\x15\x1b[200~ab\ncd\x1b[201~\x01");
  EXPECT_EQ(shown(), "ab\n|cd");
  type("\x15");
  EXPECT_EQ(shown(), "ab\n|cd");
  type("\x1b[D\x01\x05!");
  EXPECT_EQ(shown(), "ab!|\ncd");
}

TEST_F(Edited, EarlierMessagesComeBack) {
  type("first");
  EXPECT_EQ(line_.send(), "first");
  type("second");
  line_.send();
  type("draft\x1b[A");
  EXPECT_EQ(shown(), "second|");
  type("\x1b[A\x1b[A");
  EXPECT_EQ(shown(), "first|");
  type("\x1b[B\x1b[B\x1b[B");
  EXPECT_EQ(shown(), "draft|");
}

TEST_F(Edited, TheScreenPutsTheCursorWhereItIs) {
  LineScreen screen("> ");
  type("ab\u6c34");
  EXPECT_EQ(screen.draw(line_, 80), "\r\x1b[J> ab\u6c34\r\x1b[6C");
  type("\x1b[D");
  EXPECT_EQ(screen.draw(line_, 80), "\r\x1b[J> ab\u6c34\r\x1b[4C");
  EXPECT_EQ(screen.draw(line_, 4), "\r\x1b[J> ab\u6c34\r") << "the first row is full";
}

TEST_F(Edited, TheScreenHasRows) {
  LineScreen screen("> ");
  type("\x1b[200~abcd\ne\x1b[201~");
  EXPECT_EQ(screen.draw(line_, 4), "\r\x1b[J> abcd\r\ne\r\x1b[1C");
  EXPECT_EQ(screen.draw(line_, 80).substr(0, 5), "\r\x1b[2A");
  screen.resized(line_, 80);
  EXPECT_EQ(screen.draw(line_, 80).substr(0, 5), "\r\x1b[1A");
}

}  // namespace
}  // namespace millrace
