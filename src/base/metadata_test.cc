#include "base/metadata.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kLowest = std::numeric_limits<int64_t>::min();
constexpr int64_t kHighest = std::numeric_limits<int64_t>::max();

TEST(Metadata, KeepsOrderAndFindsKeys) {
  Metadata metadata;
  metadata.set_string("b", "text");
  metadata.set_integer("a", MetaType::kU32, 7);
  metadata.set_integer("b.c", MetaType::kI8, -1);
  std::vector<std::string> keys;
  for (const auto& [key, value] : metadata.entries()) keys.push_back(key);
  EXPECT_THAT(keys, ElementsAre("b", "a", "b.c"));
  EXPECT_TRUE(metadata.has("a"));
  EXPECT_FALSE(metadata.has("c"));
  EXPECT_EQ(metadata.find("c"), nullptr);
  EXPECT_EQ(metadata.find("a")->type, MetaType::kU32);
}

TEST(Metadata, AbsentKeysAreNotFoundOrTheFallback) {
  const Metadata metadata;
  EXPECT_EQ(metadata.integer("k", 0, 9).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(message_of(metadata.strings("k").status()), HasSubstr("'k' is missing"));
  EXPECT_EQ(metadata.integer_or("k", 0, 9, 77).value(), 77);
  EXPECT_EQ(metadata.number_or("k", 0.5).value(), 0.5);
  EXPECT_EQ(metadata.boolean_or("k", true).value(), true);
  EXPECT_EQ(metadata.string_or("k", "x").value(), "x");
}

TEST(Metadata, WrongTypesAreNamedEvenWithAFallback) {
  Metadata metadata;
  metadata.set_string("text", "1");
  metadata.set_boolean("flag", true);
  metadata.set_number("real", 1.0);
  metadata.set_integers("list", MetaType::kI32, {1, 2});
  EXPECT_EQ(message_of(metadata.integer("text", 0, 9).status()),
            "metadata key 'text' is string, expected an integer");
  EXPECT_EQ(metadata.integer_or("text", 0, 9, 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(metadata.integer("flag", 0, 9).ok());
  EXPECT_FALSE(metadata.number("flag").ok());
  EXPECT_FALSE(metadata.integer("real", 0, 9).ok());
  EXPECT_FALSE(metadata.boolean("real").ok());
  EXPECT_FALSE(metadata.string("list").ok());
  EXPECT_FALSE(metadata.strings("list").ok());
  EXPECT_FALSE(metadata.numbers("list").ok());
  EXPECT_FALSE(metadata.integers("text").ok());
}

TEST(Metadata, IntegersStayInTheirRange) {
  Metadata metadata;
  metadata.set_integer("small", MetaType::kI16, -3);
  metadata.set_integer("huge", MetaType::kU64, -1);  // 2^64 - 1
  EXPECT_EQ(metadata.integer("small", -3, -3).value(), -3);
  EXPECT_THAT(message_of(metadata.integer("small", 0, 5).status()),
              HasSubstr("'small' is -3, expected 0 to 5"));
  EXPECT_THAT(message_of(metadata.integer("huge", kLowest, kHighest).status()),
              HasSubstr("'huge' is beyond 63 bits"));
}

TEST(Metadata, NumbersAreFinite) {
  Metadata metadata;
  metadata.set_number("real", 0.25);
  metadata.set_integer("whole", MetaType::kU32, 10000);
  metadata.set_number("nan", std::nan(""));
  metadata.set_number("infinite", -INFINITY);
  EXPECT_EQ(metadata.number("real").value(), 0.25);
  EXPECT_EQ(metadata.number("whole").value(), 10000.0);
  EXPECT_THAT(message_of(metadata.number("nan").status()), HasSubstr("not finite"));
  EXPECT_FALSE(metadata.number_or("infinite", 1.0).ok());
}

TEST(Metadata, ArraysComeBack) {
  Metadata metadata;
  metadata.set_integers("integers", MetaType::kI32, {3, -1});
  metadata.set_numbers("numbers", {0.5});
  metadata.set_strings("strings", std::vector<std::string>{"", "b"});
  EXPECT_THAT(metadata.integers("integers").value(), ElementsAre(3, -1));
  EXPECT_THAT(metadata.numbers("numbers").value(), ElementsAre(0.5));
  EXPECT_THAT(metadata.strings("strings").value(), ElementsAre("", "b"));
  EXPECT_EQ(std::get<MetaArray>(metadata.find("strings")->value).size(), 2);
  const auto& integers = std::get<MetaArray>(metadata.find("integers")->value);
  EXPECT_EQ(integers.size(), 2);
  EXPECT_EQ(std::get<std::span<const std::byte>>(integers.values).size(), 2 * sizeof(int32_t));
  EXPECT_THAT(std::get<std::vector<int64_t>>(integers.first(1)), ElementsAre(3));
  EXPECT_THAT(std::get<std::vector<int64_t>>(integers.first(9)), ElementsAre(3, -1));
}

TEST(Metadata, AddRefusesWhatSetReplaces) {
  Metadata metadata;
  EXPECT_TRUE(metadata.add("key", {MetaType::kU8, int64_t{1}}).ok());
  EXPECT_THAT(message_of(metadata.add("key", {MetaType::kU8, int64_t{2}})), HasSubstr("twice"));
  EXPECT_EQ(metadata.integer("key", 0, 9).value(), 1);
  metadata.set_integer("key", MetaType::kU8, 3);
  EXPECT_EQ(metadata.integer("key", 0, 9).value(), 3);
  EXPECT_EQ(metadata.entries().size(), 1u);
}

TEST(Metadata, OwnStringsSurviveAMove) {
  Metadata metadata;
  metadata.set_string("short", "s");
  metadata.set_strings("many", std::vector<std::string>(100, std::string(40, 'x')));
  const Metadata moved = std::move(metadata);
  EXPECT_EQ(moved.string("short").value(), "s");
  EXPECT_EQ(moved.strings("many").value()[99], std::string(40, 'x'));
}

}  // namespace
}  // namespace millrace
