#include "server/http/json_text.h"

#include <string>

#include <gtest/gtest.h>

#include "server/http/api_error.h"

namespace millrace {
namespace {

TEST(JsonTextTest, LimitsCountWhileReading) {
  const std::string deep(100000, '[');
  EXPECT_FALSE(parse_json(deep).ok());
  EXPECT_FALSE(parse_json(std::string(65, '[') + std::string(65, ']')).ok());
  EXPECT_TRUE(parse_json(std::string(64, '[') + std::string(64, ']')).ok());

  const auto object = [](int keys) {
    std::string text = "{";
    for (int i = 0; i < keys; ++i) text += fmt::format("{}\"k{}\":1", i == 0 ? "" : ",", i);
    return text + "}";
  };
  EXPECT_TRUE(parse_json(object(1000)).ok());
  EXPECT_FALSE(parse_json(object(1001)).ok());
  EXPECT_FALSE(parse_json(object(100000)).ok());
  EXPECT_FALSE(parse_json("[1,2,3]", {.values = 3}).ok());
  EXPECT_TRUE(parse_json("[1,2,3]", {.values = 4}).ok());
}

TEST(JsonTextTest, RefusesWhatTwoReadersCouldReadInTwoWays) {
  for (const std::string_view bad :
       {std::string_view("{\"a\":1,\"a\":2}"), std::string_view("{\"b\":{\"a\":1,\"\\u0061\":2}}"),
        std::string_view("{}\0{}", 5), std::string_view("{} x"), std::string_view(""),
        std::string_view("{\"a\":1e400}"), std::string_view("\"\xff\""),
        std::string_view("\"\\ud800\""), std::string_view("{\"a\":NaN}"),
        std::string_view("{'a':1}"), std::string_view("[1,]"), std::string_view("// c\n1")}) {
    const auto value = parse_json(bad);
    ASSERT_FALSE(value.ok()) << bad;
    EXPECT_EQ(value.status().message().find("json.exception"), absl::string_view::npos);
  }
}

TEST(JsonTextTest, FaultsNameTheFieldTheyAreIn) {
  std::string biases = "{";
  for (int i = 0; i <= 1000; ++i) biases += fmt::format("{}\"{}\":1", i > 0 ? "," : "", i);
  biases += "}";
  const std::pair<std::string, const char*> faults[] = {
      {R"({"n":1,"temperature":1e999})", "temperature"},
      {R"({"n":1,"top_p":-1e999,"x":1})", "top_p"},
      {R"({"a":1,"b":[{"c":1,"c":2}]})", "b"},
      {R"({"a":{},"n":1,"n":2})", "n"},
      {R"({"a":[1e999]})", "a"},
      {"{\"a\":" + std::string(64, '[') + std::string(64, ']') + "}", "a"},
      {"{\"prompt\":\"a\",\"logit_bias\":" + biases + "}", "logit_bias"},
      {R"({"a":1,"b":tru})", nullptr},
      {"[1e999]", nullptr},
  };
  for (const auto& [text, field] : faults) {
    const auto value = parse_json(text);
    ASSERT_FALSE(value.ok()) << text;
    const Json error = Json::parse(error_json(value.status()))["error"];
    EXPECT_EQ(error["param"], field == nullptr ? Json(nullptr) : Json(field)) << text;
    EXPECT_EQ(error["message"].get<std::string>().find("valid") != std::string::npos,
              text.ends_with("tru}"));
  }
}

TEST(JsonTextTest, KeepsTheOrderOfMembers) {
  EXPECT_EQ(json_text(*parse_json(R"({"z":1,"a":[{"y":null,"b":-2.5}]})")),
            R"({"z":1,"a":[{"y":null,"b":-2.5}]})");
}

}  // namespace
}  // namespace millrace
