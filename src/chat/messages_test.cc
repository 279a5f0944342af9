#include "chat/messages.h"

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

constexpr ContentForms kText = {.text = true, .parts = false};
constexpr ContentForms kParts = {.text = false, .parts = true};
constexpr ContentForms kBoth = {.text = true, .parts = true};

ChatCapabilities all_text() {
  return {.user = kText,
          .system = kText,
          .assistant = kText,
          .tool = kText,
          .several_systems = true,
          .later_systems = true};
}

// The fitted messages as compact JSON, or `!` and the message.
std::string fit(std::string_view messages, const ChatCapabilities& can) {
  const absl::StatusOr<Json> fitted = fit_messages(Json::parse(messages), can);
  return fitted.ok() ? fitted->dump() : "!" + std::string(message_of(fitted.status()));
}

TEST(Messages, ContentTakesTheFormThatTheTemplateWants) {
  constexpr std::string_view kAsParts =
      R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])";
  ChatCapabilities can = all_text();
  EXPECT_EQ(fit(kAsParts, can), R"([{"role":"user","content":"a\nb"}])");
  can.user = kBoth;
  EXPECT_EQ(fit(kAsParts, can), kAsParts);
  EXPECT_EQ(fit(R"([{"role":"user","content":"a"}])", can), R"([{"role":"user","content":"a"}])");
  can.user = kParts;
  EXPECT_EQ(fit(R"([{"role":"user","content":"a"}])", can),
            R"([{"role":"user","content":[{"type":"text","text":"a"}]}])");
}

TEST(Messages, NoContent) {
  constexpr std::string_view kNull =
      R"([{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":{}}}]}])";
  constexpr std::string_view kEmpty =
      R"([{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{}}}]}])";
  ChatCapabilities can = all_text();
  EXPECT_EQ(fit(kNull, can), kEmpty);
  EXPECT_EQ(fit(kEmpty, can), kEmpty);
  can.call_content = CallContent::kEither;
  EXPECT_EQ(fit(kNull, can), kNull);
  EXPECT_EQ(fit(kEmpty, can), kEmpty);
  can.call_content = CallContent::kNull;
  EXPECT_EQ(fit(kEmpty, can), kNull);
  EXPECT_EQ(fit(R"([{"role":"user"}])", can), R"([{"role":"user","content":""}])");
}

TEST(Messages, ArgumentsBecomeObjectsOrStayText) {
  constexpr std::string_view kAsText =
      R"([{"role":"assistant","content":"","tool_calls":[{"function":{"arguments":"{\"a\": 1}"}}]}])";
  constexpr std::string_view kAsObject =
      R"([{"role":"assistant","content":"","tool_calls":[{"function":{"arguments":{"a":1}}}]}])";
  ChatCapabilities can = all_text();
  EXPECT_EQ(fit(kAsText, can), kAsObject);
  EXPECT_EQ(fit(kAsObject, can), kAsObject);
  can.text_arguments = true;
  EXPECT_EQ(fit(kAsText, can), kAsText);
  EXPECT_EQ(
      fit(kAsObject, can),
      R"([{"role":"assistant","content":"","tool_calls":[{"function":{"arguments":"{\"a\":1}"}}]}])");
}

// What models write when they fail, and what clients send for none.
TEST(Messages, ArgumentsThatAreNoObject) {
  const auto arguments_of = [](const Json& given, bool wants_text, bool shows_any_text) {
    ChatCapabilities can = all_text();
    can.text_arguments = wants_text;
    can.plain_arguments = shows_any_text;
    Json call = {{"function", {{"name", "f"}, {"arguments", given}}}};
    Json message = {{"role", "assistant"}, {"content", ""}};
    message["tool_calls"].push_back(std::move(call));
    Json messages = Json::array();
    messages.push_back(std::move(message));
    const absl::StatusOr<Json> fitted = fit_messages(messages, can);
    EXPECT_TRUE(fitted.ok()) << fitted.status();
    return (*fitted)[0]["tool_calls"][0]["function"]["arguments"];
  };
  for (const Json& none : {Json(""), Json(" \n"), Json(), Json::object()}) {
    EXPECT_EQ(arguments_of(none, false, true), Json::object()) << none;
    EXPECT_EQ(arguments_of(none, true, true), "{}") << none;
  }
  for (const char* text : {"{", "no", "[1]", "3", "null", "\"x\"", "{} {}", "1e999"}) {
    EXPECT_EQ(arguments_of(text, true, true), text);
    EXPECT_EQ(arguments_of(text, false, true), text);
    EXPECT_EQ(arguments_of(text, false, false), Json::object()) << text;
  }
  EXPECT_EQ(arguments_of(Json::array({1}), false, true), "[1]");
  EXPECT_EQ(arguments_of(3, true, false), "3");
}

TEST(Messages, ReasoningGoesWhereTheTemplateLooks) {
  constexpr std::string_view kGiven = R"([{"role":"assistant","content":"a","reasoning":"r"}])";
  ChatCapabilities can = all_text();
  EXPECT_EQ(fit(kGiven, can), kGiven);
  can.reasoning = "reasoning";
  EXPECT_EQ(fit(kGiven, can), kGiven);
  can.reasoning = "reasoning_content";
  EXPECT_EQ(fit(kGiven, can),
            R"([{"role":"assistant","content":"a","reasoning":"r","reasoning_content":"r"}])");
  can.reasoning = "content";
  EXPECT_EQ(fit(kGiven, can),
            R"([{"role":"assistant","content":[{"type":"thinking","thinking":"r"},)"
            R"({"type":"text","text":"a"}],"reasoning":"r"}])");
}

TEST(Messages, DevelopersAreTheSystemWhereNobodyKnowsThem) {
  constexpr std::string_view kGiven = R"([{"role":"developer","content":"d"}])";
  ChatCapabilities can = all_text();
  EXPECT_EQ(fit(kGiven, can), R"([{"role":"system","content":"d"}])");
  can.developer_role = true;
  EXPECT_EQ(fit(kGiven, can), kGiven);
}

TEST(Messages, ASystemWithoutARoleBeginsTheUsersMessage) {
  ChatCapabilities can = all_text();
  can.system = {};
  EXPECT_EQ(fit(R"([{"role":"system","content":"s"},{"role":"developer","content":"d"},)"
                R"({"role":"user","content":"u"},{"role":"assistant","content":"a"},)"
                R"({"role":"user","content":"v"}])",
                can),
            R"([{"role":"user","content":"s\n\nd\n\nu"},{"role":"assistant","content":"a"},)"
            R"({"role":"user","content":"v"}])");
  EXPECT_EQ(fit(R"([{"role":"system","content":"s"}])", can), R"([{"role":"user","content":"s"}])");
  can.user = kParts;
  EXPECT_EQ(fit(R"([{"role":"system","content":[{"type":"text","text":"s"}]},)"
                R"({"role":"user","content":"u"}])",
                can),
            R"([{"role":"user","content":[{"type":"text","text":"s\n\n"},)"
            R"({"type":"text","text":"u"}]}])");
}

constexpr std::string_view kTwoSystems =
    R"([{"role":"system","content":"s"},{"role":"developer","content":[{"type":"text","text":"d"}]},)"
    R"({"role":"user","content":"u"}])";

TEST(Messages, SeveralSystemsAtTheStart) {
  ChatCapabilities can = all_text();
  EXPECT_EQ(fit(kTwoSystems, can),
            R"([{"role":"system","content":"s"},{"role":"system","content":"d"},)"
            R"({"role":"user","content":"u"}])");
  can.several_systems = false;
  EXPECT_EQ(fit(kTwoSystems, can),
            R"([{"role":"system","content":"s\n\nd"},{"role":"user","content":"u"}])");
  can.system = kParts;
  EXPECT_EQ(fit(kTwoSystems, can),
            R"([{"role":"system","content":[{"type":"text","text":"s"},)"
            R"({"type":"text","text":"\n\nd"}]},{"role":"user","content":"u"}])");
}

TEST(Messages, AnEmptySystemMessageAddsNothing) {
  constexpr std::string_view kGiven =
      R"([{"role":"system","content":"s"},{"role":"system","content":""},)"
      R"({"role":"system"},{"role":"user","content":"u"}])";
  ChatCapabilities can = all_text();
  can.several_systems = false;
  EXPECT_EQ(fit(kGiven, can), R"([{"role":"system","content":"s"},{"role":"user","content":"u"}])");
  can.system = {};
  EXPECT_EQ(fit(kGiven, can), R"([{"role":"user","content":"s\n\nu"}])");
}

TEST(Messages, ALaterSystemThatWouldBeLostBeginsTheUsersMessage) {
  constexpr std::string_view kLater =
      R"([{"role":"user","content":"u"},{"role":"system","content":"s"},)"
      R"({"role":"assistant","content":"a"},{"role":"user","content":"v"}])";
  ChatCapabilities can = all_text();
  EXPECT_EQ(fit(kLater, can), kLater);
  can.later_systems = false;
  EXPECT_EQ(fit(kLater, can),
            R"([{"role":"user","content":"u"},{"role":"assistant","content":"a"},)"
            R"({"role":"user","content":"s\n\nv"}])");
}

TEST(Messages, AlternatingTemplatesGetOneOfTwoUsersMessages) {
  constexpr std::string_view kUsers =
      R"([{"role":"user","content":"u"},{"role":"system","content":"s"},)"
      R"({"role":"user","content":"v"},{"role":"system","content":"t"}])";
  ChatCapabilities can = all_text();
  can.later_systems = false;
  EXPECT_EQ(fit(kUsers, can),
            R"([{"role":"user","content":"u"},{"role":"user","content":"s\n\nv"},)"
            R"({"role":"user","content":"t"}])");
  can.alternating = true;
  EXPECT_EQ(fit(kUsers, can), R"([{"role":"user","content":"u\n\ns\n\nv\n\nt"}])");
  // Not behind what a call brought.
  EXPECT_EQ(fit(R"([{"role":"user","content":"u"},{"role":"assistant","content":"",)"
                R"("tool_calls":[]},{"role":"tool","content":"1"},)"
                R"({"role":"system","content":"s"}])",
                can),
            R"([{"role":"user","content":"u\n\ns"},{"role":"assistant","content":"",)"
            R"("tool_calls":[]},{"role":"tool","content":"1"}])");
}

TEST(Messages, OtherMembersAreKept) {
  constexpr std::string_view kGiven =
      R"([{"role":"tool","content":"c","tool_call_id":"1","name":"f","x":[1]}])";
  EXPECT_EQ(fit(kGiven, all_text()), kGiven);
}

TEST(Messages, WrongShapesAreNamed) {
  const ChatCapabilities can = all_text();
  EXPECT_EQ(fit("{}", can), "!messages must be a list");
  EXPECT_EQ(fit("[1]", can), "!messages[0] must be an object with a role");
  EXPECT_EQ(fit(R"([{"role":"user","content":""},{"content":""}])", can),
            "!messages[1] must be an object with a role");
  EXPECT_EQ(fit(R"([{"role":"user","content":1}])", can),
            "!messages[0].content must be a string or a list of parts");
  EXPECT_EQ(fit(R"([{"role":"user","content":[{"type":"image_url"}]}])", can),
            "!messages[0].content may hold text parts only");
  EXPECT_EQ(fit(R"([{"role":"assistant","tool_calls":{}}])", can),
            "!messages[0].tool_calls must be a list");
  EXPECT_EQ(fit(R"([{"role":"assistant","tool_calls":[{}]}])", can),
            "!messages[0].tool_calls[0].function must be an object");
}

}  // namespace
}  // namespace millrace
