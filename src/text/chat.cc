#include "text/chat.h"

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "text/jinja/template.h"

namespace millrace {

namespace {

using Json = nlohmann::ordered_json;

// The text of a content list, its text parts joined with a line feed.
absl::StatusOr<std::string> joined_parts(const Json& parts) {
  std::string text;
  bool is_first = true;
  for (const Json& part : parts) {
    const bool is_text = part.is_object() && part.contains("text") && part["text"].is_string();
    if (!is_text) return invalid_argument("a message's content may hold text parts only");
    if (!is_first) text += '\n';
    is_first = false;
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

absl::StatusOr<Json> with_text_content(const Json& messages) {
  Json result = messages;
  for (Json& message : result) {
    if (!message.is_object() || !message.contains("content")) continue;
    Json& content = message["content"];
    if (!content.is_array()) continue;
    ASSIGN_OR_RETURN(content, joined_parts(content));
  }
  return result;
}

}  // namespace

struct ChatTemplate::Compiled {
  jinja::Template source;
};

ChatTemplate::ChatTemplate(std::unique_ptr<const Compiled> compiled)
    : compiled_(std::move(compiled)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<ChatTemplate> ChatTemplate::parse(std::string_view source, std::string_view name) {
  ASSIGN_OR_RETURN(jinja::Template parsed, jinja::Template::parse(source, name));
  return ChatTemplate(std::make_unique<const Compiled>(Compiled{std::move(parsed)}));
}

absl::StatusOr<MarkedText> ChatTemplate::render(const ChatContext& context) const {
  using jinja::Origin;
  if (!context.messages.is_array()) return invalid_argument("messages must be a list");
  if (!context.extra.is_null() && !context.extra.is_object()) {
    return invalid_argument("the template's keyword arguments must be an object");
  }
  ASSIGN_OR_RETURN(const Json messages, with_text_content(context.messages));
  const Json bos = context.bos_token;
  const Json eos = context.eos_token;
  const Json add_generation_prompt = context.add_generation_prompt;
  std::vector<jinja::Variable> variables;
  // What comes later replaces what has the same name: the caller's words never replace ours.
  if (context.extra.is_object()) {
    for (const auto& [key, value] : context.extra.get_ref<const Json::object_t&>()) {
      variables.push_back({key, &value, key == "documents" ? Origin::kWritten : Origin::kTrusted});
    }
  }
  variables.push_back({"messages", &messages, Origin::kMessages});
  // transformers defines tools and documents always, as none where there are none.
  variables.push_back({"tools", &context.tools, Origin::kWritten});
  variables.push_back({"add_generation_prompt", &add_generation_prompt, Origin::kTrusted});
  variables.push_back({"bos_token", &bos, Origin::kTrusted});
  variables.push_back({"eos_token", &eos, Origin::kTrusted});
  return compiled_->source.render(variables, context.now);
}

}  // namespace millrace
