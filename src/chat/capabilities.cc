#include "chat/capabilities.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

// Words that no template contains.
constexpr std::string_view kUserWord = "Zquser";
constexpr std::string_view kOtherWord = "Zqother";
constexpr std::string_view kAnswerWord = "Zqanswer";
constexpr std::string_view kToolWord = "zqtool";
constexpr std::string_view kSecondToolWord = "zqsecond";
constexpr std::string_view kArgumentWord = "zqargument";
constexpr std::string_view kValueWord = "zqvalue";

constexpr std::string_view kEffort = "reasoning_effort";

bool shows(const std::optional<std::string>& text, std::string_view word) {
  return text && text->find(word) != std::string::npos;
}

size_t count(std::string_view text, std::string_view word) {
  size_t found = 0;
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    ++found;
  }
  return found;
}

Json probe_part(std::string_view text) { return {{"type", "text"}, {"text", text}}; }

Json message(std::string_view role, Json content) {
  return {{"role", role}, {"content", std::move(content)}};
}

Json definition(std::string_view name) {
  const Json argument = {{"type", "string"}, {"description", "A word"}};
  const Json parameters = {{"type", "object"},
                           {"properties", {{kArgumentWord, argument}}},
                           {"required", Json::array({kArgumentWord})}};
  return {{"type", "function"},
          {"function",
           {{"name", name}, {"description", "A tool"}, {"parameters", std::move(parameters)}}}};
}

// Some templates ask for ids of exactly nine letters and digits.
Json call(std::string_view name, std::string_view id, Json arguments) {
  return {{"id", id},
          {"type", "function"},
          {"function", {{"name", name}, {"arguments", std::move(arguments)}}}};
}

Json call(std::string_view name, std::string_view id, bool text_arguments) {
  const Json arguments = {{kArgumentWord, kValueWord}};
  return call(name, id, text_arguments ? Json(arguments.dump()) : arguments);
}

Json result(std::string_view name, std::string_view id, Json content) {
  return {{"role", "tool"}, {"tool_call_id", id}, {"name", name}, {"content", std::move(content)}};
}

class Prober {
 public:
  explicit Prober(RenderProbe render) : render_(render) {}

  ChatCapabilities run() {
    find_users();
    find_others();
    find_tools();
    find_systems();
    find_turns();
    find_reasoning();
    return can_;
  }

 private:
  using Text = std::optional<std::string>;

  void find_users();
  void find_others();
  void find_tools();
  void find_arguments(const Json& content);
  void find_calls();
  void find_systems();
  bool shows_all(const Json& messages, const Json& extra);
  void find_reasoning();
  void find_turns();

  // What a conversation becomes; nothing where the template refuses it.
  Text render(Json messages, Json extra = Json::object()) {
    if (is_exhausted_) return std::nullopt;
    Json variables = {{"messages", std::move(messages)},
                      {"add_generation_prompt", true},
                      {"bos_token", "<s>"},
                      {"eos_token", "</s>"}};
    if (!can_.undefined_tools) variables["tools"] = nullptr;
    variables.update(extra);
    absl::StatusOr<std::string> text = render_(variables);
    is_exhausted_ = absl::IsResourceExhausted(text.status());
    if (!text.ok()) return std::nullopt;
    return *std::move(text);
  }

  Json user(std::string_view text = kUserWord) const {
    if (can_.user.text || !can_.user.parts) return message("user", text);
    return message("user", Json::array({probe_part(text)}));
  }
  Json answer() const {
    if (can_.assistant.text || !can_.assistant.parts) return message("assistant", kAnswerWord);
    return message("assistant", Json::array({probe_part(kAnswerWord)}));
  }
  Json no_content() const {
    return can_.call_content == CallContent::kNull ? Json(nullptr) : Json("");
  }
  // A vector, as compilers disagree on whether a Json in braces is a list of one.
  Json calls(std::vector<Json> list) const { return calls(std::move(list), no_content()); }
  Json calls(std::vector<Json> list, Json content) const {
    Json calling = message("assistant", std::move(content));
    calling["tool_calls"] = std::move(list);
    return calling;
  }
  Json one_call() const { return call(kToolWord, "call00001", can_.text_arguments); }

  // Renders what `conversation` makes of a content, once as a string and once as parts.
  template <typename Conversation>
  ContentForms forms_of(const Conversation& conversation, const Json& extra = Json::object()) {
    ContentForms forms;
    forms.text = shows(render(conversation(Json(kAnswerWord)), extra), kAnswerWord);
    const Text parts =
        render(conversation(Json::array({probe_part(kAnswerWord), probe_part(kOtherWord)})), extra);
    // A template that knows strings only may still print the list, as Python or as JSON would.
    const auto printed = [&](char quote) {
      return shows(parts, fmt::format("{0}text{0}: {0}{1}", quote, kAnswerWord));
    };
    forms.parts =
        shows(parts, kAnswerWord) && shows(parts, kOtherWord) && !printed('\'') && !printed('"');
    return forms;
  }

  const RenderProbe render_;
  ChatCapabilities can_;
  Json tools_ = Json::object();  // what brings tools into a conversation, once they are understood
  bool is_exhausted_ = false;
};

void Prober::find_users() {
  const auto find = [&] {
    can_.user =
        forms_of([](Json content) { return Json::array({message("user", std::move(content))}); });
  };
  find();
  if (can_.user.any()) return;
  can_.undefined_tools = true;
  find();
  can_.undefined_tools = can_.user.any();
}

void Prober::find_others() {
  can_.system = forms_of([&](Json content) {
    return Json::array({message("system", std::move(content)), user()});
  });
  can_.assistant = forms_of([&](Json content) {
    return Json::array({user(), message("assistant", std::move(content)), user(kOtherWord)});
  });
  // A template that writes any role's name does not support developers in particular.
  constexpr std::string_view kStranger = "zqstranger";
  const Json content = can_.system.text || !can_.system.parts
                           ? Json(kAnswerWord)
                           : Json::array({probe_part(kAnswerWord)});
  const Text developer = render(Json::array({message("developer", content), user()}));
  if (!shows(developer, kAnswerWord)) return;
  Text stranger = render(Json::array({message(kStranger, content), user()}));
  if (stranger) {
    for (size_t at = stranger->find(kStranger); at != std::string::npos;
         at = stranger->find(kStranger)) {
      stranger->replace(at, kStranger.size(), "developer");
    }
  }
  can_.developer_role = stranger != developer;
}

// Which shapes show the arguments of a call beside this content.
void Prober::find_arguments(const Json& content) {
  const auto rendered = [&](bool text_arguments) {
    return render(
        Json::array({user(), calls({call(kToolWord, "call00001", text_arguments)}, content),
                     result(kToolWord, "call00001", kAnswerWord)}),
        tools_);
  };
  const Text object = rendered(false);
  const Text text = rendered(true);
  // An object that is printed shows Python's quotes; text that is written as JSON shows escapes.
  const bool takes_object =
      shows(object, kValueWord) && !shows(object, fmt::format("'{}'", kArgumentWord));
  const bool takes_text =
      shows(text, kValueWord) && !shows(text, fmt::format("\\\"{}", kArgumentWord));
  can_.text_arguments = takes_text && !takes_object;
  can_.tool_calls = shows(can_.text_arguments ? text : object, kValueWord);
}

void Prober::find_tools() {
  tools_ = {{"tools", {definition(kToolWord), definition(kSecondToolWord)}}};
  const Text defined = render(Json::array({user()}), tools_);
  can_.tools = shows(defined, kToolWord) && shows(defined, kSecondToolWord);
  if (!can_.tools) tools_ = Json::object();
  find_arguments("");
  if (!can_.tool_calls) {
    find_arguments(nullptr);
    if (can_.tool_calls) can_.call_content = CallContent::kNull;
  }
  can_.tool = forms_of(
      [&](Json content) {
        return Json::array(
            {user(), calls({one_call()}), result(kToolWord, "call00001", std::move(content))});
      },
      tools_);
  if (can_.tool_calls) find_calls();
}

void Prober::find_calls() {
  const auto called = [&](std::vector<Json> list, const Json& content) {
    return render(
        Json::array({user(), calls(std::move(list), content), result(kToolWord, "call00001", "1")}),
        tools_);
  };
  const Json second = call(kSecondToolWord, "call00002", can_.text_arguments);
  const Text one = called({one_call()}, no_content());
  const Text both = called({one_call(), second}, no_content());
  can_.parallel_tool_calls = one && both && count(*both, kValueWord) == count(*one, kValueWord) + 1;
  const Text plain = called({call(kToolWord, "call00001", Json(kValueWord))}, no_content());
  can_.plain_arguments = shows(plain, kValueWord);
  if (can_.call_content == CallContent::kNull) return;
  const Text null = called({one_call()}, nullptr);
  const bool takes_null = null && one && count(*null, "None") == count(*one, "None");
  if (takes_null) can_.call_content = CallContent::kEither;
}

// Whether the content of every message is shown.
bool Prober::shows_all(const Json& messages, const Json& extra) {
  const Text text = render(messages, extra);
  return text && std::ranges::all_of(messages, [&](const Json& each) {
           const Json& content = each["content"];
           const Json& word = content.is_array() ? content[0]["text"] : content;
           return !word.is_string() || shows(text, word.get<std::string>());
         });
}

void Prober::find_systems() {
  if (!can_.system.any()) return;
  const auto says = [&](std::string_view role, std::string_view word) {
    if (can_.system.text) return message(role, word);
    return message(role, Json::array({probe_part(word)}));
  };
  std::vector<std::string_view> roles = {"system"};
  if (can_.developer_role) roles.push_back("developer");
  can_.several_systems = can_.later_systems = true;
  for (const Json& extra : {Json::object(), tools_}) {
    for (const std::string_view role : roles) {
      for (const std::string_view first : roles) {
        const Json both[] = {says(first, "Zqfirst"), says(role, "Zqsecond")};
        can_.several_systems = can_.several_systems &&
                               shows_all(Json::array({both[0], both[1], user()}), extra) &&
                               shows_all(Json::array({both[0], both[1], both[0], user()}), extra);
      }
      const Json first = says("system", "Zqfirst");
      const Json later = says(role, "Zqlater");
      std::vector<Json> conversations = {
          Json::array({first, user(), answer(), later, user(kOtherWord)}),
          Json::array({user(), later, answer(), user(kOtherWord), answer(), later}),
          Json::array({user(), later})};
      if (can_.tool_calls) {
        const Json done = result(kToolWord, "call00001", "1");
        conversations.push_back(
            Json::array({first, user(), calls({one_call()}), done, later, user(kOtherWord)}));
      }
      for (const Json& each : conversations) {
        can_.later_systems = can_.later_systems && shows_all(each, extra);
      }
    }
  }
}

void Prober::find_reasoning() {
  constexpr std::string_view kWord = "Zqreason";
  const Json on = {{"add_generation_prompt", false}, {"enable_thinking", true}, {"thinking", true}};
  // Many templates show only the reasoning that led to the calls after the last user's message.
  const auto is_shown = [&](const Json& reasoned) {
    Json calling = reasoned;
    calling["tool_calls"] = Json::array({one_call()});
    Json with_tools = on;
    with_tools.update(tools_);
    const Json done = result(kToolWord, "call00001", kAnswerWord);
    // In quotes it would be a list that is printed.
    const auto in = [&](const Text& text) {
      return shows(text, kWord) && !shows(text, fmt::format("'{}'", kWord)) &&
             !shows(text, fmt::format("\"{}\"", kWord));
    };
    return (can_.tool_calls && in(render(Json::array({user(), calling, done}), with_tools))) ||
           in(render(Json::array({user(), reasoned}), on)) ||
           in(render(Json::array({user(), reasoned, user(kOtherWord)}), on));
  };
  for (const std::string_view name : {"reasoning_content", "reasoning", "thinking"}) {
    Json reasoned = answer();
    reasoned[std::string(name)] = kWord;
    if (!is_shown(reasoned)) continue;
    can_.reasoning = name;
    return;
  }
  const Json part = {{"type", "thinking"}, {"thinking", kWord}};
  const Json reasoned = message("assistant", Json::array({part, probe_part(kAnswerWord)}));
  if (can_.assistant.parts && is_shown(reasoned)) can_.reasoning = "content";
}

void Prober::find_turns() {
  const auto differs = [&](std::string_view name, const Json& one, const Json& other) {
    const Text with_one = render(Json::array({user()}), {{name, one}});
    const Text with_other = render(Json::array({user()}), {{name, other}});
    return with_one && with_other && with_one != with_other;
  };
  can_.generation_prompt = differs("add_generation_prompt", true, false);
  for (const std::string_view name : {"enable_thinking", "thinking"}) {
    if (can_.thinking_switch.empty() && differs(name, true, false)) can_.thinking_switch = name;
  }
  if (can_.thinking_switch.empty() && differs(kEffort, "high", "none")) {
    can_.thinking_switch = kEffort;
  }
  can_.alternating = render(Json::array({user(), answer(), user(kOtherWord)})).has_value() &&
                     !render(Json::array({user(), user(kOtherWord)})).has_value();
}

}  // namespace

ChatCapabilities probe_capabilities(RenderProbe render) { return Prober(render).run(); }

}  // namespace millrace
