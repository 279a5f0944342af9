#include "chat/named_templates.h"

#include <string>

#include <absl/strings/str_split.h>
#include <gtest/gtest.h>

#include "chat/chat.h"

namespace millrace {
namespace {

// A conversation with a system, two turns and an answer to come.
std::string talk(std::string_view name, bool begins_with_bos = false) {
  const auto source = named_template(name, begins_with_bos);
  if (!source) return "!unknown";
  const auto chat = ChatTemplate::parse(*source, name);
  if (!chat.ok()) return "!" + std::string(message_of(chat.status()));
  ChatContext context;
  context.messages = {{{"role", "system"}, {"content", "S"}},
                      {{"role", "user"}, {"content", " U "}},
                      {{"role", "assistant"}, {"content", "A"}},
                      {{"role", "user"}, {"content", "V"}}};
  context.bos_token = "<s>";
  context.eos_token = "</s>";
  const auto text = chat->render(context);
  return text.ok() ? text->text : "!" + std::string(message_of(text.status()));
}

TEST(NamedTemplates, HaveTheirModelsShapes) {
  EXPECT_EQ(talk("chatml"),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n U <|im_end|>\n"
            "<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nV<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(talk("llama2-sys-bos", true),
            "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\n U  [/INST]A</s><s>[INST] V [/INST]");
  EXPECT_EQ(talk("llama3", true),
            "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nV<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(talk("gemma"),
            "<start_of_turn>user\nS\n\n U<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n"
            "<start_of_turn>user\nV<end_of_turn>\n<start_of_turn>model\n");
  EXPECT_EQ(talk("mistral-v1"), " [INST] S\n\n U  [/INST] A</s> [INST] V [/INST]");
  EXPECT_EQ(talk("monarch"),
            "system\nS</s>\n<s>user\n U </s>\n<s>assistant\nA</s>\n<s>user\nV</s>\n"
            "<s>assistant\n");
  EXPECT_EQ(talk("zephyr"),
            "<|system|>\nS</s>\n<|user|>\n U </s>\n<|assistant|>\nA</s>\n<|user|>\nV</s>\n"
            "<|assistant|>\n");
  EXPECT_EQ(talk("vicuna"), "S\n\nUSER:  U \nASSISTANT: A</s>\nUSER: V\nASSISTANT:");
  EXPECT_EQ(talk("alpaca"),
            "S\n\n### Instruction:\n U \n\n### Response:\nA</s>\n\n### Instruction:\nV\n\n"
            "### Response:\n");
  EXPECT_EQ(talk("nothing"), "!unknown");
}

TEST(NamedTemplates, AllShowWhatIsSaid) {
  const std::string names = named_template_names();
  for (const auto split : absl::StrSplit(to_absl(names), ", ")) {
    const std::string_view name(split.data(), split.size());
    const std::string text = talk(name);
    size_t at = 0;
    for (const char* said : {"S", "U", "A", "V"}) {
      at = text.find(said, at);
      ASSERT_NE(at, std::string::npos) << name << ": " << text;
    }
    EXPECT_EQ(talk(name, true).substr(0, 3), "<s>") << name;
  }
}

TEST(NamedTemplates, RefuseRolesWithoutATurn) {
  const auto chat = ChatTemplate::parse(*named_template("llama3", false), "llama3");
  ASSERT_TRUE(chat.ok()) << chat.status();
  ChatContext context;
  context.messages = {{{"role", "tool"}, {"content", "x"}}};
  EXPECT_EQ(chat->render(context).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace millrace
