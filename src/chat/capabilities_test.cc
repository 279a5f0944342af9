#include "chat/capabilities.h"

#include <string>

#include <gtest/gtest.h>

#include "chat/chat.h"

namespace millrace {
namespace {

ChatCapabilities capabilities_of(std::string_view source) {
  const auto chat = ChatTemplate::parse(source, "t");
  EXPECT_TRUE(chat.ok()) << chat.status();
  return chat.ok() ? chat->capabilities() : ChatCapabilities{};
}

constexpr std::string_view kPlain =
    "{% for m in messages %}<{{ m.role }}>{{ m['content'] + '' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";

TEST(Capabilities, OfATemplateThatWritesAnyRole) {
  const ChatCapabilities can = capabilities_of(kPlain);
  for (const ContentForms& forms : {can.user, can.system, can.assistant, can.tool}) {
    EXPECT_TRUE(forms.text);
    EXPECT_FALSE(forms.parts);
  }
  EXPECT_FALSE(can.developer_role);
  EXPECT_FALSE(can.tools);
  EXPECT_FALSE(can.tool_calls);
  EXPECT_TRUE(can.generation_prompt);
  EXPECT_FALSE(can.alternating);
  EXPECT_EQ(can.reasoning, "");
  EXPECT_EQ(can.thinking_switch, "");
}

TEST(Capabilities, FormsOfContent) {
  const ContentForms printed = capabilities_of("{{ messages[0].content }}").user;
  EXPECT_TRUE(printed.text);
  EXPECT_FALSE(printed.parts) << "a list that is printed as Python shows it is not understood";
  EXPECT_FALSE(capabilities_of("{{ messages[0].content | tojson }}").user.parts);
  const ContentForms parts =
      capabilities_of("{% for p in messages[0].content %}{{ p.text }}{% endfor %}").user;
  EXPECT_FALSE(parts.text);
  EXPECT_TRUE(parts.parts);
  const ContentForms both =
      capabilities_of(
          "{% if messages[0].content is string %}{{ messages[0].content }}{% else %}"
          "{% for p in messages[0].content %}{{ p.text }}{% endfor %}{% endif %}")
          .user;
  EXPECT_TRUE(both.text && both.parts);
}

TEST(Capabilities, RolesThatARefusalHides) {
  const ChatCapabilities can = capabilities_of(
      "{% for m in messages %}{% if m.role not in ['user', 'assistant'] %}"
      "{{ raise_exception('no') }}{% endif %}"
      "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('turns') }}"
      "{% endif %}{{ m.content }}{% endfor %}");
  EXPECT_FALSE(can.system.any());
  EXPECT_FALSE(can.tool.any());
  EXPECT_TRUE(can.alternating);
  EXPECT_FALSE(can.generation_prompt);
  EXPECT_TRUE(capabilities_of("{% for m in messages %}"
                              "{{ 'D' if m.role == 'developer' else m.role }}{{ m.content }}"
                              "{% endfor %}")
                  .developer_role);
}

TEST(Capabilities, WhereTheSystemIsShown) {
  const ChatCapabilities everywhere = capabilities_of(kPlain);
  EXPECT_TRUE(everywhere.several_systems);
  EXPECT_TRUE(everywhere.later_systems);
  const ChatCapabilities first = capabilities_of(
      "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}"
      "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}");
  EXPECT_TRUE(first.system.text);
  EXPECT_FALSE(first.several_systems);
  EXPECT_FALSE(first.later_systems);
  const ChatCapabilities leading = capabilities_of(
      "{% for m in messages %}{% if m.role == 'system' and not loop.first and "
      "loop.previtem.role != 'system' %}{{ raise_exception('late') }}{% endif %}{{ m.content }}"
      "{% endfor %}");
  EXPECT_TRUE(leading.several_systems);
  EXPECT_FALSE(leading.later_systems);
}

// A template whose messages show `call` for each call.
ChatCapabilities calling(std::string_view call) {
  return capabilities_of(
      "{% for m in messages %}{{ m.content }}"
      "{% for call in m.tool_calls or [] %}{% set f = call.function %}" +
      std::string(call) + "{% endfor %}{% endfor %}");
}

TEST(Capabilities, ShapesOfArguments) {
  EXPECT_FALSE(calling("{{ f.name }}{{ f.arguments | tojson }}").text_arguments);
  EXPECT_FALSE(
      calling("{% for k, v in f.arguments.items() %}{{ k }}={{ v }}{% endfor %}").text_arguments);
  EXPECT_TRUE(calling("{{ f.name + f.arguments }}").text_arguments);
  EXPECT_TRUE(calling("{{ f.arguments }}").text_arguments);
  const ChatCapabilities either =
      calling("{{ f.arguments if f.arguments is string else f.arguments | tojson }}");
  EXPECT_FALSE(either.text_arguments);
  EXPECT_TRUE(either.tool_calls);
  EXPECT_TRUE(either.parallel_tool_calls);
  EXPECT_TRUE(either.plain_arguments);
  EXPECT_FALSE(
      calling("{% for k, v in f.arguments.items() %}{{ k }}={{ v }}{% endfor %}").plain_arguments);
  EXPECT_FALSE(calling("{{ f.name }}").tool_calls);
  EXPECT_FALSE(capabilities_of("{% for m in messages %}{% if m.tool_calls %}"
                               "{% if m.tool_calls | length > 1 %}{{ raise_exception('one') }}"
                               "{% endif %}{{ m.tool_calls[0].function.arguments | tojson }}"
                               "{% endif %}{{ m.content }}{% endfor %}")
                   .parallel_tool_calls);
}

TEST(Capabilities, ContentBesideCalls) {
  constexpr std::string_view kCalls = "{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}";
  const auto with = [&](std::string_view content) {
    return capabilities_of("{% for m in messages %}" + std::string(content) + std::string(kCalls) +
                           "{% endfor %}")
        .call_content;
  };
  EXPECT_EQ(with("{{ m.content }}"), CallContent::kEmpty) << "null would print None";
  EXPECT_EQ(with("{{ m.content + '' }}"), CallContent::kEmpty);
  EXPECT_EQ(with("{{ m.content or '' }}"), CallContent::kEither);
  EXPECT_EQ(
      capabilities_of("{% for m in messages %}{% if m.content is none %}" + std::string(kCalls) +
                      "{% else %}{{ m.content }}{% endif %}{% endfor %}")
          .call_content,
      CallContent::kNull);
}

TEST(Capabilities, ToolsAreNoneOrUndefined) {
  constexpr std::string_view kMessages = "{% for m in messages %}{{ m.content }}{% endfor %}";
  const ChatCapabilities none = capabilities_of("{{ tools | tojson }}" + std::string(kMessages));
  EXPECT_TRUE(none.tools);
  EXPECT_FALSE(none.undefined_tools);
  const ChatCapabilities undefined = capabilities_of(
      "{% for t in tools %}{{ t.function.name }}{% endfor %}" + std::string(kMessages));
  EXPECT_TRUE(undefined.tools);
  EXPECT_TRUE(undefined.undefined_tools);
  EXPECT_TRUE(undefined.user.text);
}

TEST(Capabilities, WhereReasoningGoes) {
  const auto with = [](std::string_view shown) {
    return capabilities_of("{% for m in messages %}" + std::string(shown) + "{% endfor %}");
  };
  EXPECT_EQ(with("{{ m.reasoning_content }}{{ m.content }}").reasoning, "reasoning_content");
  EXPECT_EQ(with("{{ m.reasoning }}{{ m.content }}").reasoning, "reasoning");
  EXPECT_EQ(with("{{ m.thinking }}{{ m.content }}").reasoning, "thinking");
  EXPECT_EQ(with("{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
                 "{{ p.thinking if p.type == 'thinking' else p.text }}{% endfor %}{% endif %}")
                .reasoning,
            "content");
  EXPECT_EQ(with("{{ m.content }}").reasoning, "");
  // Only of the last answer, and only where thinking is on.
  const ChatCapabilities last =
      with("{% if loop.last and enable_thinking %}{{ m.reasoning }}{% endif %}{{ m.content }}");
  EXPECT_EQ(last.reasoning, "reasoning");
  EXPECT_EQ(with("{{ m.content }}{{ 'x' if thinking }}").thinking_switch, "thinking");
  EXPECT_EQ(with("{{ m.content }}{{ reasoning_effort }}").thinking_switch, "reasoning_effort");
}

// Forty conversations must not cost forty times what one may.
TEST(Capabilities, OfATemplateThatNeverEnds) {
  int probes = 0;
  const ChatCapabilities can =
      probe_capabilities([&](const nlohmann::ordered_json&) -> absl::StatusOr<std::string> {
        ++probes;
        return resource_exhausted("too much");
      });
  EXPECT_EQ(probes, 1);
  EXPECT_FALSE(can.user.any());
  EXPECT_FALSE(capabilities_of("{% for a in range(99999) %}{% for b in range(99999) %}"
                               "{% endfor %}{% endfor %}{{ messages[0].content }}")
                   .user.any());
}

}  // namespace
}  // namespace millrace
