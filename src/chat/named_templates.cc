#include "chat/named_templates.h"

#include <fmt/format.h>

namespace millrace {
namespace {

// What stands before and after the content of one role's messages. {eos} is the vocabulary's own;
// {bos} too, but not at the very beginning, where it depends on the vocabulary.
struct Turn {
  std::string_view open;
  std::string_view close;
};

// Whose contents lose the white space around them.
enum class Trimmed : uint8_t { kNone, kAnswers, kAll };

// A system without a turn is told with the first user's message (see messages.h).
struct Shape {
  std::string_view name;
  std::optional<Turn> system{};
  Turn user;
  Turn assistant;
  std::string_view answer;  // what the answer follows
  Trimmed trimmed = Trimmed::kNone;
  // The system's turn opens the user's, as in Llama 2.
  bool system_opens_user = false;
  std::string_view begin = "";      // of everything
  std::string_view no_system = "";  // where the system says nothing
};

// Facts about what the models were trained on.
constexpr Shape kShapes[] = {
    {"alpaca",
     Turn{"", "\n\n"},
     {"### Instruction:\n", "\n\n"},
     {"### Response:\n", "{eos}\n\n"},
     "### Response:\n"},
    {"bailing",
     Turn{"<role>SYSTEM</role>", ""},
     {"<role>HUMAN</role>", ""},
     {"<role>ASSISTANT</role>", ""},
     "<role>ASSISTANT</role>"},
    {"bailing-think",
     Turn{"<role>SYSTEM</role>", ""},
     {"<role>HUMAN</role>", ""},
     {"<role>ASSISTANT</role>", ""},
     "<role>ASSISTANT</role><think>"},
    {.name = "bailing2",
     .system = Turn{"<role>SYSTEM</role>", "<|role_end|>"},
     .user = {"<role>HUMAN</role>", "<|role_end|>"},
     .assistant = {"<role>ASSISTANT</role>", "<|role_end|>"},
     .answer = "<role>ASSISTANT</role>",
     .no_system = "<role>SYSTEM</role>detailed thinking off<|role_end|>"},
    {.name = "chatglm3",
     .system = Turn{"<|system|>\n ", ""},
     .user = {"<|user|>\n ", ""},
     .assistant = {"<|assistant|>\n ", ""},
     .answer = "<|assistant|>",
     .begin = "[gMASK]sop"},
    {.name = "chatglm4",
     .system = Turn{"<|system|>\n", ""},
     .user = {"<|user|>\n", ""},
     .assistant = {"<|assistant|>\n", ""},
     .answer = "<|assistant|>\n",
     .begin = "[gMASK]<sop>"},
    {"chatml",
     Turn{"<|im_start|>system\n", "<|im_end|>\n"},
     {"<|im_start|>user\n", "<|im_end|>\n"},
     {"<|im_start|>assistant\n", "<|im_end|>\n"},
     "<|im_start|>assistant\n"},
    {.name = "command-r",
     .system = Turn{"<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", "<|END_OF_TURN_TOKEN|>"},
     .user = {"<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", "<|END_OF_TURN_TOKEN|>"},
     .assistant = {"<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"},
     .answer = "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
     .trimmed = Trimmed::kAll},
    {"deepseek",
     Turn{"", ""},
     {"### Instruction:\n", "\n"},
     {"### Response:\n", "\n<|EOT|>\n"},
     "### Response:\n"},
    {"deepseek2", Turn{"", "\n\n"}, {"User: ", "\n\n"}, {"Assistant: ", "{eos}"}, "Assistant:"},
    {"deepseek3",
     Turn{"", "\n\n"},
     {"<｜User｜>", ""},
     {"<｜Assistant｜>", "{eos}"},
     "<｜Assistant｜>"},
    {"exaone-moe",
     Turn{"<|system|>\n", "<|endofturn|>\n"},
     {"<|user|>\n", "<|endofturn|>\n"},
     {"<|assistant|>\n", "<|endofturn|>\n"},
     "<|assistant|>\n",
     Trimmed::kAll},
    {"exaone3",
     Turn{"[|system|]", "[|endofturn|]\n"},
     {"[|user|]", "\n"},
     {"[|assistant|]", "[|endofturn|]\n"},
     "[|assistant|]",
     Trimmed::kAll},
    {"exaone4",
     Turn{"[|system|]", "[|endofturn|]\n"},
     {"[|user|]", "\n"},
     {"[|assistant|]", "[|endofturn|]\n"},
     "[|assistant|]",
     Trimmed::kAll},
    {"falcon3",
     Turn{"<|system|>\n", "\n"},
     {"<|user|>\n", "\n"},
     {"<|assistant|>\n", "\n"},
     "<|assistant|>\n"},
    {.name = "gemma",
     .user = {"<start_of_turn>user\n", "<end_of_turn>\n"},
     .assistant = {"<start_of_turn>model\n", "<end_of_turn>\n"},
     .answer = "<start_of_turn>model\n",
     .trimmed = Trimmed::kAll},
    {.name = "gigachat",
     .system = Turn{"", "<|message_sep|>"},
     .user = {"user<|role_sep|>",
              "<|message_sep|>available functions<|role_sep|>[]<|message_sep|>"},
     .assistant = {"assistant<|role_sep|>", "<|message_sep|>"},
     .answer = "assistant<|role_sep|>"},
    {"glmedge",
     Turn{"<|system|>\n", ""},
     {"<|user|>\n", ""},
     {"<|assistant|>\n", ""},
     "<|assistant|>"},
    {"gpt-oss",
     Turn{"<|start|>system<|message|>", "<|end|>"},
     {"<|start|>user<|message|>", "<|end|>"},
     {"<|start|>assistant<|message|>", "<|return|>"},
     "<|start|>assistant"},
    {"granite",
     Turn{"<|start_of_role|>system<|end_of_role|>", "<|end_of_text|>\n"},
     {"<|start_of_role|>user<|end_of_role|>", "<|end_of_text|>\n"},
     {"<|start_of_role|>assistant<|end_of_role|>", "<|end_of_text|>\n"},
     "<|start_of_role|>assistant<|end_of_role|>"},
    {"grok-2",
     Turn{"System: ", "<|separator|>\n\n"},
     {"Human: ", "<|separator|>\n\n"},
     {"Assistant: ", "<|separator|>\n\n"},
     "Assistant:",
     Trimmed::kAll},
    {"hunyuan-moe",
     Turn{"<|startoftext|>", "<|extra_4|>"},
     {"<|startoftext|>", "<|extra_0|>"},
     {"", "<|eos|>"},
     ""},
    {"kimi-k2",
     Turn{"<|im_system|>system<|im_middle|>", "<|im_end|>"},
     {"<|im_user|>user<|im_middle|>", "<|im_end|>"},
     {"<|im_assistant|>assistant<|im_middle|>", "<|im_end|>"},
     "<|im_assistant|>assistant<|im_middle|>"},
    {.name = "llama2",
     .system = Turn{"[INST] ", "\n"},
     .user = {"[INST] ", " [/INST]"},
     .assistant = {"", "{eos}"},
     .answer = "",
     .system_opens_user = true},
    {.name = "llama2-sys",
     .system = Turn{"[INST] <<SYS>>\n", "\n<</SYS>>\n\n"},
     .user = {"[INST] ", " [/INST]"},
     .assistant = {"", "{eos}"},
     .answer = "",
     .system_opens_user = true},
    {.name = "llama2-sys-bos",
     .system = Turn{"[INST] <<SYS>>\n", "\n<</SYS>>\n\n"},
     .user = {"{bos}[INST] ", " [/INST]"},
     .assistant = {"", "{eos}"},
     .answer = "",
     .system_opens_user = true},
    {.name = "llama2-sys-strip",
     .system = Turn{"[INST] <<SYS>>\n", "\n<</SYS>>\n\n"},
     .user = {"[INST] ", " [/INST]"},
     .assistant = {"", "{eos}"},
     .answer = "",
     .trimmed = Trimmed::kAll,
     .system_opens_user = true},
    {.name = "llama3",
     .system = Turn{"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"},
     .user = {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"},
     .assistant = {"<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"},
     .answer = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .trimmed = Trimmed::kAll},
    {.name = "llama4",
     .system = Turn{"<|header_start|>system<|header_end|>\n\n", "<|eot|>"},
     .user = {"<|header_start|>user<|header_end|>\n\n", "<|eot|>"},
     .assistant = {"<|header_start|>assistant<|header_end|>\n\n", "<|eot|>"},
     .answer = "<|header_start|>assistant<|header_end|>\n\n",
     .trimmed = Trimmed::kAll},
    {"megrez",
     Turn{"<|role_start|>system<|role_end|>", "<|turn_end|>"},
     {"<|role_start|>user<|role_end|>", "<|turn_end|>"},
     {"<|role_start|>assistant<|role_end|>", "<|turn_end|>"},
     "<|role_start|>assistant<|role_end|>"},
    {"minicpm", Turn{"", ""}, {"<用户>", "<AI>"}, {"", ""}, "", Trimmed::kAll},
    {"mistral-v1", std::nullopt, {" [INST] ", " [/INST]"}, {" ", "{eos}"}, ""},
    {"mistral-v3", std::nullopt, {"[INST] ", "[/INST]"}, {" ", "{eos}"}, "", Trimmed::kAnswers},
    {"mistral-v3-tekken", std::nullopt, {"[INST]", "[/INST]"}, {"", "{eos}"}, ""},
    {"mistral-v7",
     Turn{"[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"},
     {"[INST] ", "[/INST]"},
     {" ", "{eos}"},
     ""},
    {"mistral-v7-tekken",
     Turn{"[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"},
     {"[INST]", "[/INST]"},
     {"", "{eos}"},
     ""},
    {"monarch",
     Turn{"{bos}system\n", "{eos}\n"},
     {"{bos}user\n", "{eos}\n"},
     {"{bos}assistant\n", "{eos}\n"},
     "{bos}assistant\n"},
    {"openchat",
     Turn{"", "<|end_of_turn|>"},
     {"GPT4 Correct User: ", "<|end_of_turn|>"},
     {"GPT4 Correct Assistant: ", "<|end_of_turn|>"},
     "GPT4 Correct Assistant:"},
    {"orion", std::nullopt, {"Human: ", "\n\nAssistant: {eos}"}, {"", "{eos}"}, ""},
    {.name = "pangu-embedded",
     .system = Turn{"[unused9]系统：", "[unused10]"},
     .user = {"[unused9]用户：", "[unused10]"},
     .assistant = {"[unused9]助手：", "[unused10]"},
     .answer = "[unused9]助手：",
     .no_system = "[unused9]系统：[unused10]"},
    {"phi3",
     Turn{"<|system|>\n", "<|end|>\n"},
     {"<|user|>\n", "<|end|>\n"},
     {"<|assistant|>\n", "<|end|>\n"},
     "<|assistant|>\n"},
    {"phi4",
     Turn{"<|im_start|>system<|im_sep|>", "<|im_end|>"},
     {"<|im_start|>user<|im_sep|>", "<|im_end|>"},
     {"<|im_start|>assistant<|im_sep|>", "<|im_end|>"},
     "<|im_start|>assistant<|im_sep|>"},
    {"rwkv-world",
     Turn{"System: ", "\n\n"},
     {"User: ", "\n\n"},
     {"Assistant: ", "\n\n"},
     "Assistant:",
     Trimmed::kAll},
    {"seed_oss",
     Turn{"<seed:bos>system\n", "<seed:eos>"},
     {"<seed:bos>user\n", "<seed:eos>"},
     {"<seed:bos>assistant\n", "<seed:eos>"},
     "<seed:bos>assistant\n",
     Trimmed::kAnswers},
    {"solar-open",
     Turn{"<|begin|>system<|content|>", "<|end|>"},
     {"<|begin|>user<|content|>", "<|end|>"},
     {"<|begin|>assistant<|content|>", "<|end|>"},
     "<|begin|>assistant"},
    {"vicuna", Turn{"", "\n\n"}, {"USER: ", "\n"}, {"ASSISTANT: ", "{eos}\n"}, "ASSISTANT:"},
    {"vicuna-orca",
     Turn{"SYSTEM: ", "\n"},
     {"USER: ", "\n"},
     {"ASSISTANT: ", "{eos}\n"},
     "ASSISTANT:"},
    {"zephyr",
     Turn{"<|system|>\n", "{eos}\n"},
     {"<|user|>\n", "{eos}\n"},
     {"<|assistant|>\n", "{eos}\n"},
     "<|assistant|>\n"},
};

// A Jinja expression that gives the text.
std::string expression_of(std::string_view text, bool in_loop) {
  std::string expression = "'";
  while (!text.empty()) {
    if (text.starts_with("{eos}")) {
      expression += "' ~ eos_token ~ '";
      text.remove_prefix(5);
    } else if (text.starts_with("{bos}")) {
      expression += in_loop ? "' ~ ('' if loop.first else bos_token) ~ '" : "' ~ bos_token ~ '";
      text.remove_prefix(5);
    } else {
      expression += text.front() == '\n' ? "\\n" : std::string(1, text.front());
      text.remove_prefix(1);
    }
  }
  return expression + "'";
}

std::string print(std::string_view text, bool in_loop) {
  return text.empty() ? "" : "{{ " + expression_of(text, in_loop) + " }}";
}

// What stands in the loop for one role.
std::string branch(std::string_view role, const Turn& turn, bool is_trimmed,
                   bool system_opens_user) {
  std::string open = expression_of(turn.open, true);
  if (system_opens_user && role == "user") {
    open = "('' if loop.previtem is defined and loop.previtem.role == 'system' else " + open + ")";
  }
  return fmt::format("{{% elif message.role == '{}' %}}{{{{ {} ~ {} ~ {} }}}}", role, open,
                     is_trimmed ? "message.content | trim" : "message.content",
                     expression_of(turn.close, true));
}

std::string source_of(const Shape& shape) {
  const bool trims_all = shape.trimmed == Trimmed::kAll;
  std::string source = print(shape.begin, false);
  if (!shape.no_system.empty()) {
    source +=
        "{% if messages[0].role != 'system' %}" + print(shape.no_system, false) + "{% endif %}";
  }
  source +=
      "{% for message in messages %}"
      "{% if message.role not in ['system', 'user', 'assistant'] %}"
      "{{ raise_exception('only system, user and assistant have turns here') }}";
  if (shape.system) source += branch("system", *shape.system, trims_all, false);
  source += branch("user", shape.user, trims_all, shape.system_opens_user);
  source += branch("assistant", shape.assistant, shape.trimmed != Trimmed::kNone, false);
  source += "{% else %}{{ raise_exception('the system has no turn here') }}{% endif %}{% endfor %}";
  if (shape.answer.empty()) return source;
  return source + "{% if add_generation_prompt %}" + print(shape.answer, false) + "{% endif %}";
}

}  // namespace

std::optional<std::string> named_template(std::string_view name, bool begins_with_bos) {
  for (const Shape& shape : kShapes) {
    if (shape.name == name) return (begins_with_bos ? "{{ bos_token }}" : "") + source_of(shape);
  }
  return std::nullopt;
}

std::string named_template_names() {
  std::string names;
  for (const Shape& shape : kShapes) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", shape.name);
  }
  return names;
}

}  // namespace millrace
