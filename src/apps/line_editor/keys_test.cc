#include "apps/line_editor/keys.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

using Keys = std::vector<KeyPress>;

Keys one_byte_at_a_time(std::string_view bytes) {
  KeyParser parser;
  Keys keys;
  for (const char& byte : bytes) {
    for (const KeyPress& press : parser.push({&byte, 1})) keys.push_back(press);
  }
  return keys;
}

KeyPress text(std::string text) { return {Key::kText, std::move(text)}; }

TEST(KeyParser, TextIsUtf8) {
  KeyParser parser;
  EXPECT_EQ(parser.push("h\u00e9 \u6c34\U0001f600"), Keys{text("h\u00e9 \u6c34\U0001f600")});
  EXPECT_EQ(one_byte_at_a_time("\u6c34e\u0301"), (Keys{text("\u6c34"), text("e"), text("\u0301")}));
  EXPECT_EQ(parser.push("a\xff"), Keys{text("a\ufffd")});
}

TEST(KeyParser, ControlsAndSequences) {
  EXPECT_EQ(one_byte_at_a_time("\x01\x15\x1b[D\x1bOC\x1b[3~\x1b[1;5D\x7f\r"),
            (Keys{{Key::kHome, {}},
                  {Key::kDeleteToStart, {}},
                  {Key::kLeft, {}},
                  {Key::kRight, {}},
                  {Key::kDelete, {}},
                  {Key::kWordLeft, {}},
                  {Key::kBackspace, {}},
                  {Key::kEnter, {}}}));
  EXPECT_EQ(one_byte_at_a_time("\x1b[99;7xa"), Keys{text("a")});
  EXPECT_EQ(one_byte_at_a_time("\x1b\r"), Keys{text("\n")});
  EXPECT_EQ(one_byte_at_a_time("\x1b\u00e9"), Keys{text("\u00e9")});
}

TEST(KeyParser, PastedLinesAreOneText) {
  const std::string paste = "\x1b[200~one\r\ntwo\rthree\n\x1b[A\x03\tend\x1b[201~\r";
  const Keys expected = {text("one\ntwo\nthree\n[A\tend"), {Key::kEnter, {}}};
  EXPECT_EQ(KeyParser().push(paste), expected);
  EXPECT_EQ(one_byte_at_a_time(paste), expected);
}

TEST(KeyParser, AnEscapeAloneCanBeDropped) {
  KeyParser parser;
  EXPECT_EQ(parser.push("\x1b"), Keys());
  EXPECT_TRUE(parser.in_sequence());
  parser.clear();
  EXPECT_EQ(parser.push("[A"), Keys{text("[A")});
  parser.push("\x1b[200~half");
  EXPECT_FALSE(parser.in_sequence());
}

TEST(KeyParser, ASequenceWithoutEndIsDropped) {
  KeyParser parser;
  EXPECT_EQ(parser.push("\x1b[" + std::string(100, '1')), Keys());
  EXPECT_FALSE(parser.in_sequence());
}

}  // namespace
}  // namespace millrace
