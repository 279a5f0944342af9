#include "chat/chat.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using testing::HasSubstr;

constexpr std::string_view kTurns =
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
    "{% for tool in tools or [] %}{{ tool.function.name }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% if not think %}quick{% endif %}{% endif %}";

ChatContext hello() {
  ChatContext context;
  context.messages = {{{"role", "user"}, {"content", "hi <|end|>"}}};
  context.bos_token = "<s>";
  context.now = absl::UnixEpoch();
  return context;
}

TEST(ChatTemplate, RendersAndMarksContent) {
  const auto chat = ChatTemplate::parse(kTurns, "turns");
  ASSERT_TRUE(chat.ok()) << chat.status();
  const auto text = chat->render(hello());
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->text, "<s><|user|>hi <|end|><|end|>\n<|assistant|>quick");
  ASSERT_EQ(text->written.size(), 1U);
  EXPECT_EQ(
      text->text.substr(text->written[0].begin, text->written[0].end - text->written[0].begin),
      "hi <|end|>");
}

TEST(ChatTemplate, TakesToolsAndKeywordArguments) {
  const auto chat = ChatTemplate::parse(kTurns, "turns");
  ASSERT_TRUE(chat.ok()) << chat.status();
  ChatContext context = hello();
  context.tools = {{{"type", "function"}, {"function", {{"name", "clock"}}}}};
  context.extra = {{"think", true}, {"bos_token", "no"}};
  context.add_generation_prompt = false;
  auto text = chat->render(context);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->text, "<s><|user|>hi <|end|><|end|>\nclock");
  context.add_generation_prompt = true;
  text = chat->render(context);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(text->text, HasSubstr("<|assistant|>"));
  EXPECT_THAT(text->text, testing::Not(HasSubstr("quick")));
}

TEST(ChatTemplate, JoinsTextParts) {
  const auto chat = ChatTemplate::parse(kTurns, "turns");
  ASSERT_TRUE(chat.ok()) << chat.status();
  ChatContext context = hello();
  context.messages[0]["content"] = {{{"type", "text"}, {"text", "one"}},
                                    {{"type", "text"}, {"text", "two"}}};
  const auto text = chat->render(context);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(text->text, HasSubstr("<|user|>one\ntwo<|end|>"));
  context.messages[0]["content"][0] = {{"type", "image_url"}};
  EXPECT_EQ(chat->render(context).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ChatTemplate, MarksWhatKeywordArgumentsHold) {
  const auto chat = ChatTemplate::parse("<{{ tone }}{{ think }}{{ bos_token }}>", "t");
  ASSERT_TRUE(chat.ok()) << chat.status();
  ChatContext context = hello();
  context.extra = {{"tone", "<|end|>"}, {"bos_token", "no"}};
  const auto text = chat->render(context);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->text, "<<|end|><s>>");
  ASSERT_EQ(text->written.size(), 1U);
  EXPECT_EQ(text->written[0].begin, 1U);
  EXPECT_EQ(text->written[0].end, 8U);
}

TEST(ChatTemplate, RefusesToolsThatItCannotShow) {
  const auto chat = ChatTemplate::parse("{{ messages[0].content }}", "t");
  ASSERT_TRUE(chat.ok()) << chat.status();
  ChatContext context = hello();
  context.tools = {{{"type", "function"}, {"function", {{"name", "clock"}}}}};
  EXPECT_EQ(message_of(chat->render(context).status()), "the chat template knows no tools");
  context.tools = nlohmann::ordered_json::array();
  EXPECT_TRUE(chat->render(context).ok());
}

TEST(ChatTemplate, ModelsBringVariants) {
  Metadata metadata;
  EXPECT_TRUE(absl::IsNotFound(ChatTemplate::of_model(metadata).status()));
  metadata.set_string("tokenizer.chat_template", "plain {{ messages[0].content }}");
  metadata.set_string("tokenizer.chat_template.tool_use",
                      "{{ tools | tojson }} {{ messages[0].content }}");
  metadata.set_string("tokenizer.chat_template.rag", "rag");
  const auto chat = ChatTemplate::of_model(metadata);
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_TRUE(chat->capabilities().tools);
  ChatContext context = hello();
  EXPECT_THAT(chat->render(context)->text, testing::StartsWith("plain hi"));
  context.tools = {{{"type", "function"}, {"function", {{"name", "clock"}}}}};
  EXPECT_THAT(chat->render(context)->text, testing::StartsWith("[{"));
  const nlohmann::ordered_json variables = {{"messages", context.messages},
                                            {"tools", context.tools}};
  EXPECT_THAT(chat->render_exactly(variables, context.now)->text, testing::StartsWith("[{"));
  EXPECT_EQ(ChatTemplate::of_model(metadata, "rag")->render(hello())->text, "rag");
  EXPECT_TRUE(absl::IsNotFound(ChatTemplate::of_model(metadata, "other").status()));
}

// The template sees what it is given: no shape is changed, nothing is added.
TEST(ChatTemplate, RendersExactly) {
  const auto chat = ChatTemplate::parse(
      "{{ bos_token }}{{ tools is defined }}{{ messages[0].content }}{{ eos_token }}", "t");
  ASSERT_TRUE(chat.ok()) << chat.status();
  const nlohmann::ordered_json variables = {{"messages", {{{"role", "user"}, {"content", {"a"}}}}},
                                            {"bos_token", "<s>"}};
  const auto text = chat->render_exactly(variables, absl::UnixEpoch());
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->text, "<s>False['a']");
  ASSERT_EQ(text->written.size(), 1U);
  EXPECT_EQ(text->written[0].end - text->written[0].begin, 1U);
}

TEST(ChatTemplate, SaysWhereATemplateFails) {
  EXPECT_EQ(message_of(ChatTemplate::parse("{% if %}", "broken").status()),
            "broken:1:7: expected an expression, found the end of the tag ('%}')\n"
            "  {% if %}\n        ^");
  const auto refuses = ChatTemplate::parse("{{ raise_exception('no system role') }}", "gemma");
  ASSERT_TRUE(refuses.ok()) << refuses.status();
  const absl::Status status = refuses->render(hello()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(message_of(status)), HasSubstr("no system role"));
}

}  // namespace
}  // namespace millrace
