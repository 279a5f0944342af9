// Published chat templates, with what a client may put into a conversation.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "chat/chat.h"
#include "tests/fixtures/text/tiny_vocab.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFolder[] = "../shared/data/templates/";

// What a template's author may mean as a token: <...>, [...] and the like within its literals.
std::set<std::string> spellings_in(const std::string& source) {
  constexpr size_t kBytesMax = 40;
  std::set<std::string> found = {"<|im_end|>", "</s>"};
  for (size_t at = 0; at < source.size(); ++at) {
    if (source[at] != '<' && source[at] != '[') continue;
    const size_t end = source.find(source[at] == '<' ? '>' : ']', at);
    if (end == std::string::npos || end - at > kBytesMax || end - at < 3) continue;
    const std::string spelling = source.substr(at, end + 1 - at);
    if (spelling.find_first_of(" \n'\"{}") == std::string::npos) found.insert(spelling);
  }
  return found;
}

struct PublishedTemplate {
  std::string name;
  std::string source;
  ChatTemplate chat;
};

class PublishedChats : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!std::filesystem::exists(kFolder)) return;
    for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
      if (entry.path().extension() != ".jinja") continue;
      std::ifstream in(entry.path(), std::ios::binary);
      std::stringstream text;
      text << in.rdbuf();
      const std::string name = entry.path().stem();
      auto chat = ChatTemplate::parse(text.str(), name);
      ASSERT_TRUE(chat.ok()) << chat.status();
      templates_.push_back({name, text.str(), *std::move(chat)});
    }
  }
  static void TearDownTestSuite() { templates_.clear(); }
  void SetUp() override {
    if (templates_.empty()) GTEST_SKIP() << kFolder << " is not there";
  }

  inline static std::vector<PublishedTemplate> templates_;
};

// A conversation with `word` in every place that a client controls. A rich one has what not every
// template takes: a second system, lists in arguments.
ChatContext conversation(const ChatCapabilities& can, const std::string& word,
                         bool is_rich = false) {
  const auto parts = [&](const std::string& text) {
    return Json::array({{{"type", "text"}, {"text", text}}, {{"type", "text"}, {"text", word}}});
  };
  ChatContext context;
  context.bos_token = "<s>";
  context.eos_token = "</s>";
  context.now = absl::UnixEpoch();
  context.messages = {{{"role", "system"}, {"content", word}}};
  if (is_rich) {
    context.messages.push_back({{"role", "developer"}, {"content", parts("d")}});
  }
  context.messages.push_back({{"role", "user"}, {"content", "a" + word + " b"}, {"name", word}});
  context.messages.push_back(
      {{"role", "assistant"}, {"content", word}, {"reasoning_content", word + "\n"}, {word, word}});
  context.messages.push_back({{"role", "user"}, {"content", parts("c")}});
  if (can.tools) {
    const Json property = {{"type", "string"},
                           {"description", word},
                           {"enum", Json::array({word, "x"})},
                           {word, word}};
    const Json parameters = {{"type", "object"},
                             {"properties", {{word, property}, {"plain", property}}},
                             {"required", Json::array({word})}};
    context.tools = {
        {{"type", "function"},
         {"function", {{"name", word}, {"description", word}, {"parameters", parameters}}}}};
  }
  if (can.tool_calls && can.tool.any()) {
    Json arguments = {{word, word}};
    if (is_rich) arguments["list"] = Json::array({word});
    context.messages.push_back(
        {{"role", "assistant"},
         {"content", nullptr},
         {"reasoning", word},
         {"tool_calls",
          {{{"id", "call00001"},
            {"type", "function"},
            {"function", {{"name", word}, {"arguments", arguments.dump()}}}}}}});
    context.messages.push_back(
        {{"role", "tool"}, {"tool_call_id", "call00001"}, {"name", word}, {"content", word}});
  }
  context.extra = {{"enable_thinking", true},
                   {"tone", word},
                   {"date_string", word},
                   {"system_message", word},
                   {"documents", {{{"title", word}, {"text", word}}}}};
  if (is_rich) context.extra["builtin_tools"] = {word};
  return context;
}

// Every byte that a client wrote, replaced.
std::string without_written(const MarkedText& text, char by) {
  std::string rest = text.text;
  for (const ByteRange& range : text.written) {
    std::fill(rest.begin() + static_cast<ptrdiff_t>(range.begin),
              rest.begin() + static_cast<ptrdiff_t>(range.end), by);
  }
  return rest;
}

std::string only_the_templates_own(const MarkedText& text) {
  std::string own;
  size_t at = 0;
  for (const ByteRange& range : text.written) {
    own += text.text.substr(at, range.begin - at);
    at = range.end;
  }
  return own + text.text.substr(at);
}

int64_t count(std::string_view text, std::string_view word) {
  int64_t found = 0;
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    ++found;
  }
  return found;
}

// Wrapped, so that it is told from the same letters of the template's own.
std::string wrapped(const std::string& spelling) { return "zq" + spelling + "qz"; }

TEST_F(PublishedChats, AClientsSpellingsAreWritten) {
  for (const PublishedTemplate& each : templates_) {
    int64_t shown = 0;
    for (const std::string& spelling : spellings_in(each.source)) {
      for (const bool is_rich : {false, true}) {
        SCOPED_TRACE(each.name + " with " + spelling);
        const std::string word = wrapped(spelling);
        const auto text = each.chat.render(conversation(each.chat.capabilities(), word, is_rich));
        ASSERT_TRUE(text.ok() || is_rich) << text.status();
        if (!text.ok()) continue;
        const std::string rest = without_written(*text, '\x01');
        EXPECT_EQ(count(rest, word), 0);
        EXPECT_EQ(count(rest, spelling + "qz") + count(rest, "zq" + spelling), 0);
        shown += count(text->text, word);
      }
    }
    EXPECT_GT(shown, 20) << each.name;
  }
}

// What a template writes of its own does not depend on what a client says.
TEST_F(PublishedChats, TheTemplatesOwnTextIsNotWritten) {
  for (const PublishedTemplate& each : templates_) {
    SCOPED_TRACE(each.name);
    const auto one = each.chat.render(conversation(each.chat.capabilities(), "one word"));
    const auto other = each.chat.render(conversation(each.chat.capabilities(), "Other \"words\""));
    ASSERT_TRUE(one.ok()) << one.status();
    ASSERT_TRUE(other.ok()) << other.status();
    EXPECT_EQ(only_the_templates_own(*one), only_the_templates_own(*other));
  }
}

// With every spelling a control token of the vocabulary, those of a conversation are those that
// stand outside of what was written.
TEST_F(PublishedChats, WrittenSpellingsAreNoTokens) {
  for (const PublishedTemplate& each : templates_) {
    TinyVocab vocab = tiny_bpe();
    const auto first_control = static_cast<TokenId>(vocab.tokens.size());
    const std::set<std::string> spellings = spellings_in(each.source);
    for (const std::string& spelling : spellings) {
      const bool is_known = std::ranges::find(vocab.tokens, spelling) != vocab.tokens.end();
      if (!is_known) vocab.add(spelling, TokenKind::kControl);
    }
    const auto tokenizer = Tokenizer::create(vocab.metadata("gpt2", "gpt-2"));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    const auto controls = [&](const std::vector<TokenId>& tokens) {
      std::vector<TokenId> found;
      std::copy_if(tokens.begin(), tokens.end(), std::back_inserter(found),
                   [&](TokenId id) { return id >= first_control || (*tokenizer)->is_special(id); });
      return found;
    };
    for (const std::string& spelling : spellings) {
      SCOPED_TRACE(each.name + " with " + spelling);
      const auto text = each.chat.render(conversation(each.chat.capabilities(), wrapped(spelling)));
      ASSERT_TRUE(text.ok()) << text.status();
      EXPECT_EQ(controls((*tokenizer)->encode(*text)),
                controls((*tokenizer)->encode(without_written(*text, '\x01'))));
    }
  }
}

// A conversation of these letters: s, d, u, a: a message of the system, a developer, a user, the
// assistant; c: a call and its result. Every content is a word of its own.
Json conversation_of(std::string_view letters, bool as_parts, const Json& arguments = "{}") {
  const std::map<char, std::string_view> roles = {
      {'s', "system"}, {'d', "developer"}, {'u', "user"}, {'a', "assistant"}};
  Json messages = Json::array();
  for (size_t i = 0; i < letters.size(); ++i) {
    if (letters[i] == 'c') {
      const std::string id = fmt::format("call{:05}", i);
      const Json function = {{"name", "zqtool"}, {"arguments", arguments}};
      Json call = {{"id", id}, {"type", "function"}, {"function", function}};
      messages.push_back({{"role", "assistant"}, {"content", nullptr}});
      messages.back()["tool_calls"].push_back(std::move(call));
      messages.push_back(
          {{"role", "tool"}, {"tool_call_id", id}, {"name", "zqtool"}, {"content", "18"}});
      continue;
    }
    const std::string word = fmt::format("zqword{}q", i);
    const Json part = {{"type", "text"}, {"text", word}};
    Json content = word;
    if (as_parts) {
      content = Json::array();
      content.push_back(part);
    }
    messages.push_back({{"role", roles.at(letters[i])}, {"content", std::move(content)}});
  }
  return messages;
}

ChatContext context_of(Json messages, bool has_tools) {
  ChatContext context;
  context.messages = std::move(messages);
  context.bos_token = "<s>";
  context.eos_token = "</s>";
  context.now = absl::UnixEpoch();
  if (has_tools) {
    const Json parameters = {
        {"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}};
    const Json function = {
        {"name", "zqtool"}, {"description", "A tool"}, {"parameters", parameters}};
    context.tools.push_back({{"type", "function"}, {"function", function}});
  }
  return context;
}

// Wherever in a conversation the system or a developer speaks, and however often.
TEST_F(PublishedChats, NothingThatTheSystemSaysIsLost) {
  for (const PublishedTemplate& each : templates_) {
    const ChatCapabilities& can = each.chat.capabilities();
    for (const std::string letters :
         {"su",   "du",    "ssu",   "sdu",   "dsu",   "ddu",    "sssu",    "us",     "ud",
          "usu",  "udu",   "sus",   "sud",   "dus",   "suas",   "suasu",   "suadu",  "duasu",
          "duad", "ussdu", "uasau", "suasa", "uasda", "susasu", "suassau", "s",      "d",
          "ssd",  "sasu",  "uca",   "sucsu", "sucds", "ducasu", "sucsaud", "suscsa", "sucas"}) {
      const bool has_call = letters.find('c') != std::string::npos;
      if (has_call && !(can.tool_calls && can.tool.any())) continue;
      for (const bool as_parts : {false, true}) {
        for (const bool has_tools : {false, true}) {
          if (has_tools ? !can.tools : has_call && can.tools) continue;
          SCOPED_TRACE(fmt::format("{} with {}{}{}", each.name, letters, as_parts ? ", parts" : "",
                                   has_tools ? ", tools" : ""));
          const auto text =
              each.chat.render(context_of(conversation_of(letters, as_parts), has_tools));
          if (!text.ok()) {
            std::string others = letters;
            std::erase_if(others, [](char c) { return c == 's' || c == 'd'; });
            const Json rest = conversation_of(others, as_parts);
            const bool is_refused =
                others.empty() || !each.chat.render(context_of(rest, has_tools)).ok();
            EXPECT_TRUE(is_refused) << text.status();
            continue;
          }
          for (size_t i = 0; i < letters.size(); ++i) {
            if (letters[i] != 's' && letters[i] != 'd' && letters[i] != 'u') continue;
            EXPECT_EQ(count(text->text, fmt::format("zqword{}q", i)), 1) << text->text;
          }
        }
      }
    }
  }
}

// What models make of arguments when they fail, and what clients make of none.
TEST_F(PublishedChats, NoArgumentsOfACallAreRefused) {
  const Json all = Json::parse(R"(["", " ", "{}", "{\"a\": 1}", "{\"a\": ", "no JSON", "[1]", "3",
      "1.5", "true", "null", "\"x\"", "{} {}", "[]", "1e999", {}, {"a": null}, [1], [], 3, null, true])");
  for (const PublishedTemplate& each : templates_) {
    const ChatCapabilities& can = each.chat.capabilities();
    if (!can.tool_calls) continue;
    for (const Json& arguments : all) {
      for (const std::string_view letters : {"uc", "ucau"}) {
        SCOPED_TRACE(fmt::format("{} with {} in {}", each.name, arguments.dump(), letters));
        const auto text =
            each.chat.render(context_of(conversation_of(letters, false, arguments), can.tools));
        EXPECT_TRUE(text.ok()) << text.status();
      }
    }
  }
}

// What the probes find: the forms of the user's, the system's, the assistant's and a tool's content
// (text, parts, both); tool definitions, calls, parallel calls, arguments as text; alternating
// roles, a developer's role, a generation prompt; where reasoning goes, what turns it on.
TEST_F(PublishedChats, CapabilitiesAreFound) {
  const std::map<std::string, std::string> expected = {
      {"Apertus-8B-Instruct", "TTTTdcpg  enable_thinking"},
      {"Bielik-11B-v3.0-Instruct", "TTTTdcpg reasoning_content enable_thinking"},
      {"Cohere2MoE", "BBBBdcpg reasoning_content reasoning_effort"},
      {"CohereForAI-c4ai-command-r7b-12-2024-tool_use",
       "TTTTdcp reasoning_content enable_thinking"},
      {"GLM-4.7-Flash", "BBBTdcpg reasoning_content enable_thinking"},
      {"GigaChat3.1-10B-A1.8B", "TTTTdcg  "},
      {"Kimi-K2-Instruct", "BBB-dg  "},
      {"LFM2-8B-A1B", "TTTTdg  "},
      {"LFM2.5-Instruct", "TTTTdg  "},
      {"MiniMax-M2", "BBBBdcpg reasoning_content "},
      {"NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "TTTTdcpg reasoning_content enable_thinking"},
      {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "TTTTdcpg  "},
      {"Qwen-QwQ-32B", "TTTTdcpg  enable_thinking"},
      {"Qwen-Qwen3-0.6B", "TTTTdcpg reasoning_content enable_thinking"},
      {"Qwen3.5-4B", "BBBBdcpg reasoning_content enable_thinking"},
      {"Reka-Edge", "BBBBdcpDg reasoning_content enable_thinking"},
      {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "TTTTcptg  "},
      {"deepseek-ai-DeepSeek-V3.1", "TTTTcpg  enable_thinking"},
      {"deepseek-ai-DeepSeek-V4", "TTTTdcpDg reasoning_content enable_thinking"},
      {"google-gemma-2-2b-it", "T-T-ag  "},
      {"google-gemma-4-31B-it", "BTBBdcpDg reasoning_content enable_thinking"},
      {"ibm-granite-granite-4.0", "BBBBdcpg  "},
      {"llama-cpp-deepseek-r1", "TTTTcpg  "},
      {"meetkai-functionary-medium-v3.1", "TTTTdcpg  "},
      {"meta-llama-Llama-3.1-8B-Instruct", "TTTTdcg  "},
      {"meta-llama-Llama-3.3-70B-Instruct", "TTTTdcg  "},
      {"mistralai-Ministral-3-14B-Reasoning-2512", "BBBTdcpa content "},
      {"moonshotai-Kimi-K2", "BBBTdcpg  "},
      {"openbmb-MiniCPM5-1B", "TTTTdcpg reasoning_content enable_thinking"},
      {"unsloth-mistral-Devstral-Small-2507", "BTBTdcp  "},
  };
  for (const PublishedTemplate& each : templates_) {
    const ChatCapabilities& can = each.chat.capabilities();
    std::string found;
    for (const ContentForms& forms : {can.user, can.system, can.assistant, can.tool}) {
      found += forms.text ? (forms.parts ? 'B' : 'T') : (forms.parts ? 'P' : '-');
    }
    for (const auto& [flag, letter] :
         {std::pair(can.tools, 'd'), std::pair(can.tool_calls, 'c'),
          std::pair(can.parallel_tool_calls, 'p'), std::pair(can.text_arguments, 't'),
          std::pair(can.alternating, 'a'), std::pair(can.developer_role, 'D'),
          std::pair(can.generation_prompt, 'g')}) {
      if (flag) found += letter;
    }
    found += fmt::format(" {} {}", can.reasoning, can.thinking_switch);
    const auto known = expected.find(each.name);
    if (known == expected.end()) continue;
    EXPECT_EQ(found, known->second) << each.name;
  }
}

}  // namespace
}  // namespace millrace
