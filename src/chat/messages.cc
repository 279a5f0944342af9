#include "chat/messages.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <absl/strings/ascii.h>
#include <nlohmann/json.hpp>

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

Json text_part(std::string_view text) { return {{"type", "text"}, {"text", text}}; }

const Json* find_member(const Json& object, std::string_view name) {
  const auto at = object.find(name);
  return at == object.end() || at->is_null() ? nullptr : &*at;
}

absl::Status check_parts(const Json& parts, std::string_view path) {
  for (const Json& part : parts) {
    const Json* text = part.is_object() ? find_member(part, "text") : nullptr;
    if (text == nullptr || !text->is_string()) {
      return invalid_argument("{}.content may hold text parts only", path);
    }
  }
  return absl::OkStatus();
}

std::string joined(const Json& parts) {
  std::string text;
  for (const Json& part : parts) {
    if (&part != &parts.front()) text += '\n';
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

// Gives a content, a string or parts, a form that the template takes.
void give_form(Json& content, const ContentForms& forms) {
  if (content.is_array() && !forms.parts) {
    content = joined(content);
  } else if (content.is_string() && forms.parts && !forms.text) {
    content = Json::array({text_part(content.get_ref<const std::string&>())});
  }
}

std::string text_of(const Json& content) {
  return content.is_array() ? joined(content) : content.get<std::string>();
}

constexpr std::string_view kBetween = "\n\n";  // of what two messages said

void put_before(Json& content, const std::string& text) {
  if (content.is_array()) {
    content.insert(content.begin(), text_part(text + std::string(kBetween)));
  } else {
    content = text + std::string(kBetween) + content.get_ref<const std::string&>();
  }
}

void put_behind(Json& content, const Json& more) {
  if (content.is_array()) {
    content.push_back(text_part(std::string(kBetween) + text_of(more)));
  } else {
    auto& text = content.get_ref<std::string&>();
    text += kBetween;
    text += text_of(more);
  }
}

const Json* find_reasoning(const Json& message) {
  for (const std::string_view name : {"reasoning_content", "reasoning", "thinking"}) {
    const Json* reasoning = find_member(message, name);
    if (reasoning != nullptr && reasoning->is_string()) return reasoning;
  }
  return nullptr;
}

// Makes a part of the reasoning, before the parts or the string that the content has.
void put_thinking(Json& content, const Json& reasoning) {
  Json parts = Json::array({{{"type", "thinking"}, {"thinking", reasoning}}});
  if (content.is_array()) {
    parts.insert(parts.end(), content.begin(), content.end());
  } else if (content.is_string() && content != "") {
    parts.push_back(text_part(content.get_ref<const std::string&>()));
  }
  content = std::move(parts);
}

bool is_system(const Json& message) {
  return message["role"] == "system" || message["role"] == "developer";
}

class Fitter {
 public:
  Fitter(const ChatCapabilities& can, size_t size) : can_(can) { fitted_.reserve(size); }

  absl::Status add(Json message);
  Json finish();

 private:
  absl::Status check_content(const Json& content) const;
  Json no_content(const Json& given, bool calls) const;
  absl::Status fit_calls(Json& message) const;
  void fit_arguments(Json& arguments) const;
  void fit_reasoning(Json& message) const;
  bool takes_system(const Json& content);
  void push(Json message);
  const ContentForms& forms_of(std::string_view role) const;

  std::string path_of_next() const { return fmt::format("messages[{}]", next_); }

  const ChatCapabilities& can_;
  size_t next_ = 0;
  std::string folded_;  // system content that waits for the next user message
  Json::array_t fitted_;
  bool are_all_systems_ = true;  // those in fitted_
};

const ContentForms& Fitter::forms_of(std::string_view role) const {
  if (role == "system" || role == "developer") return can_.system;
  if (role == "assistant") return can_.assistant;
  return role == "tool" ? can_.tool : can_.user;
}

Json Fitter::no_content(const Json& given, bool calls) const {
  if (!calls || can_.call_content == CallContent::kEmpty) return "";
  return can_.call_content == CallContent::kNull ? Json(nullptr) : given;
}

absl::Status Fitter::check_content(const Json& content) const {
  if (content.is_string() || content.is_null()) return absl::OkStatus();
  if (content.is_array()) return check_parts(content, path_of_next());
  return invalid_argument("{}.content must be a string or a list of parts", path_of_next());
}

void Fitter::fit_arguments(Json& arguments) const {
  if (arguments.is_null()) arguments = Json::object();
  std::string text = arguments.is_string() ? arguments.get<std::string>() : arguments.dump();
  if (absl::StripAsciiWhitespace(text).empty()) text = "{}";
  if (can_.text_arguments) {
    arguments = std::move(text);
    return;
  }
  Json value = Json::parse(text, nullptr, false);
  if (value.is_object()) {
    arguments = std::move(value);
  } else {
    arguments = can_.plain_arguments ? Json(std::move(text)) : Json::object();
  }
}

absl::Status Fitter::fit_calls(Json& message) const {
  const auto calls = message.find("tool_calls");
  if (calls == message.end() || calls->is_null()) return absl::OkStatus();
  if (!calls->is_array()) {
    return invalid_argument("{}.tool_calls must be a list", path_of_next());
  }
  for (size_t i = 0; i < calls->size(); ++i) {
    Json& call = (*calls)[i];
    const std::string path = fmt::format("{}.tool_calls[{}].function", path_of_next(), i);
    if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) {
      return invalid_argument("{} must be an object", path);
    }
    fit_arguments(call["function"]["arguments"]);
  }
  return absl::OkStatus();
}

void Fitter::fit_reasoning(Json& message) const {
  const Json* found = can_.reasoning.empty() ? nullptr : find_reasoning(message);
  if (found == nullptr) return;
  const Json reasoning = *found;
  if (can_.reasoning == "content") {
    put_thinking(message["content"], reasoning);
  } else if (find_member(message, can_.reasoning) == nullptr) {
    message[std::string(can_.reasoning)] = reasoning;
  }
}

// Whether the template shows a system message at this place. If not, its content is merged into
// the system message before it, or kept for the next user message.
bool Fitter::takes_system(const Json& content) {
  const bool is_first = fitted_.empty();
  const bool is_leading = !is_first && are_all_systems_;
  const bool is_shown = is_first || (is_leading ? can_.several_systems : can_.later_systems);
  if (can_.system.any() && is_shown) return true;
  if (text_of(content).empty()) return false;
  if (can_.system.any() && is_leading) {
    put_behind(fitted_.back()["content"], content);
    return false;
  }
  if (!folded_.empty()) folded_ += kBetween;
  folded_ += text_of(content);
  return false;
}

// Merges two user messages in a row where the template refuses them.
void Fitter::push(Json message) {
  are_all_systems_ = are_all_systems_ && is_system(message);
  const bool is_joined = can_.alternating && !fitted_.empty() && message["role"] == "user" &&
                         fitted_.back()["role"] == "user";
  if (is_joined) {
    put_behind(fitted_.back()["content"], message["content"]);
  } else {
    fitted_.push_back(std::move(message));
  }
}

Json Fitter::finish() {
  if (folded_.empty()) return Json(std::move(fitted_));
  Json content = std::exchange(folded_, {});
  give_form(content, can_.user);
  // Calls and their results do not count as turns.
  const auto is_turn = [](const Json& each) {
    return each["role"] == "user" ||
           (each["role"] == "assistant" && find_member(each, "tool_calls") == nullptr);
  };
  const auto turn = std::find_if(fitted_.rbegin(), fitted_.rend(), is_turn);
  if (can_.alternating && turn != fitted_.rend() && (*turn)["role"] == "user") {
    put_behind((*turn)["content"], content);
  } else {
    fitted_.push_back({{"role", "user"}, {"content", std::move(content)}});
  }
  return Json(std::move(fitted_));
}

absl::Status Fitter::add(Json message) {
  if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
    return invalid_argument("{} must be an object with a role", path_of_next());
  }
  std::string role = message["role"].get<std::string>();
  if (role == "developer" && !can_.developer_role) message["role"] = role = "system";
  RETURN_IF_ERROR(check_content(message["content"]));
  RETURN_IF_ERROR(fit_calls(message));
  Json& content = message["content"];
  const bool calls = find_member(message, "tool_calls") != nullptr;
  if (content.is_null() || content == "") content = no_content(content, calls);
  ++next_;
  if (is_system(message) && !takes_system(content)) return absl::OkStatus();
  ContentForms forms = forms_of(role);
  // Beside calls some templates print a list as it is.
  forms.parts = forms.parts && !(calls && forms.text);
  give_form(content, forms);
  if (role == "assistant") fit_reasoning(message);
  if (role == "user" && !folded_.empty()) {
    put_before(content, std::exchange(folded_, {}));
  }
  push(std::move(message));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Json> fit_messages(const Json& messages, const ChatCapabilities& can) {
  if (!messages.is_array()) return invalid_argument("messages must be a list");
  Fitter fitter(can, messages.size());
  for (const Json& message : messages) RETURN_IF_ERROR(fitter.add(message));
  return fitter.finish();
}

}  // namespace millrace
