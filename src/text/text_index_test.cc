#include "text/text_index.h"

#include <string>

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(TextIndex, FindsEveryTextAndNoOther) {
  std::vector<std::string> texts;
  for (int i = 0; i < 20'000; ++i)
    texts.push_back(std::string(static_cast<size_t>(i % 7 * 5), 'x') + std::to_string(i));
  const auto text_of = [&](int32_t number) { return texts[static_cast<size_t>(number)]; };
  TextIndex index(texts.size());
  for (int32_t i = 0; i < std::ssize(texts); ++i) {
    EXPECT_EQ(index.find(text_of(i), text_of), std::nullopt);
    EXPECT_EQ(index.insert(text_of(i), i, text_of), i);
  }
  for (int32_t i = 0; i < std::ssize(texts); ++i) {
    EXPECT_EQ(index.find(text_of(i), text_of), i);
    EXPECT_EQ(index.insert(text_of(i), 0, text_of), i);
    EXPECT_EQ(index.find(text_of(i) + "x", text_of), std::nullopt);
  }
}

TEST(TextIndex, AnEmptyOneFindsNothing) {
  const auto text_of = [](int32_t) { return std::string_view("a"); };
  EXPECT_EQ(TextIndex().find("a", text_of), std::nullopt);
  TextIndex one(1);
  EXPECT_EQ(one.insert("a", 5, text_of), 5);
  EXPECT_EQ(one.find("a", text_of), 5);
  EXPECT_EQ(one.find("", text_of), std::nullopt);
}

}  // namespace
}  // namespace millrace
