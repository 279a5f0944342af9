#include <algorithm>

#include "server/http/api_error.h"
#include "server/request/shaped_fields.h"

namespace millrace {
namespace {

constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant", "tool"};

// A content given as a list of text parts. A refusal is what an assistant said, like its text.
absl::StatusOr<Json> read_parts(const Json& parts, bool by_assistant, const std::string& path) {
  if (parts.empty()) return at_field(path, invalid_argument("{} must not be an empty list", path));
  Json read = Json::array();
  for (size_t i = 0; i < parts.size(); ++i) {
    const Json& part = parts[i];
    const std::string part_path = fmt::format("{}[{}]", path, i);
    const auto type = part.is_object() ? part.find("type") : part.end();
    if (!part.is_object() || type == part.end() || !type->is_string()) {
      return at_field(part_path, invalid_argument("{} must be an object with a type", part_path));
    }
    const bool refusal = by_assistant && *type == "refusal";
    if (!refusal && *type != "text") {
      return at_field(part_path + ".type",
                      unimplemented("{} must be a text part: others are not supported", part_path));
    }
    const std::string text_path = fmt::format("{}.{}", part_path, refusal ? "refusal" : "text");
    const auto content = part.find(refusal ? "refusal" : "text");
    if (content == part.end() || !content->is_string()) {
      return at_field(text_path, invalid_argument("{} must be a string", text_path));
    }
    read.push_back({{"type", "text"}, {"text", *content}});
  }
  return read;
}

// A tool call of an earlier answer. Its arguments stay as the model wrote them, text that is no
// JSON and keys that come twice too; JSON beyond the limits is refused.
absl::StatusOr<Json> read_tool_call(const Json& call, const std::string& path,
                                    const JsonLimits& limits) {
  const auto function = call.is_object() ? call.find("function") : call.end();
  const bool shaped = call.is_object() && function != call.end() && function->is_object() &&
                      function->contains("name") && (*function)["name"].is_string();
  if (!shaped) return at_field(path, invalid_argument("{} must name a function", path));
  const auto arguments = function->find("arguments");
  if (arguments == function->end() || !arguments->is_string()) return call;
  const auto& text = arguments->get_ref<const std::string&>();
  if (!is_json_within(text, limits) && Json::accept(text)) {
    const std::string inner = path + ".function.arguments";
    return at_field(inner, invalid_argument("{} must be JSON within the limits of a body", inner));
  }
  return call;
}

absl::Status read_content(const Json& message, const std::string& role, const std::string& path,
                          Json& read) {
  const std::string content_path = path + ".content";
  const bool by_assistant = role == "assistant";
  auto content = message.find("content");
  const auto given = [&message](const auto& member) {
    return member != message.end() && !member->is_null();
  };
  if (by_assistant && !given(content)) content = message.find("refusal");
  if (!given(content)) {
    const auto calls = message.find("tool_calls");
    if (!by_assistant || calls == message.end() || calls->empty()) {
      return at_field(content_path, invalid_argument("{} must not be null", content_path));
    }
    read["content"] = nullptr;
  } else if (content->is_string()) {
    read["content"] = *content;
  } else if (content->is_array()) {
    ASSIGN_OR_RETURN(read["content"], read_parts(*content, by_assistant, content_path));
  } else {
    return at_field(content_path,
                    invalid_argument("{} must be a string or a list of parts", content_path));
  }
  return absl::OkStatus();
}

absl::Status read_text_member(const Json& message, const char* name, const std::string& path,
                              Json& read) {
  const auto member = message.find(name);
  if (member == message.end() || member->is_null()) return absl::OkStatus();
  if (!member->is_string()) {
    const std::string inner = fmt::format("{}.{}", path, name);
    return at_field(inner, invalid_argument("{} must be a string", inner));
  }
  read[name] = *member;
  return absl::OkStatus();
}

absl::Status read_tool_calls(const Json& message, const std::string& path, const JsonLimits& limits,
                             Json& read) {
  const auto calls = message.find("tool_calls");
  const bool none = calls == message.end() || calls->is_null();
  if (none || *calls == Json::array()) return absl::OkStatus();
  const std::string calls_path = path + ".tool_calls";
  if (!calls->is_array()) {
    return at_field(calls_path, invalid_argument("{} must be a list of calls", calls_path));
  }
  Json list = Json::array();
  for (size_t i = 0; i < calls->size(); ++i) {
    ASSIGN_OR_RETURN(Json call,
                     read_tool_call((*calls)[i], fmt::format("{}[{}]", calls_path, i), limits));
    list.push_back(std::move(call));
  }
  read["tool_calls"] = std::move(list);
  return absl::OkStatus();
}

absl::StatusOr<Json> read_message(const Json& message, const std::string& path,
                                  const JsonLimits& limits) {
  if (!message.is_object()) {
    return at_field(path, invalid_argument("{} must be an object", path));
  }
  const std::string role_path = path + ".role";
  const auto role = message.find("role");
  if (role == message.end() || !role->is_string() ||
      std::ranges::find(kRoles, std::string_view(role->get_ref<const std::string&>())) ==
          std::end(kRoles)) {
    return at_field(
        role_path,
        invalid_argument("{} must be system, developer, user, assistant or tool", role_path));
  }
  const auto& name = role->get_ref<const std::string&>();
  Json read;
  read["role"] = name;
  RETURN_IF_ERROR(read_content(message, name, path, read));
  for (const char* member :
       {"name", "tool_call_id", "reasoning_content", "reasoning", "thinking"}) {
    RETURN_IF_ERROR(read_text_member(message, member, path, read));
  }
  RETURN_IF_ERROR(read_tool_calls(message, path, limits, read));
  return read;
}

}  // namespace

absl::Status read_messages(const Json& value, const ReadContext& context, ApiRequest& request) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_array() || value.empty()) {
    return invalid_argument("messages must be a list with at least one message");
  }
  Json messages = Json::array();
  for (size_t i = 0; i < value.size(); ++i) {
    ASSIGN_OR_RETURN(Json message,
                     read_message(value[i], fmt::format("messages[{}]", i), context.json));
    messages.push_back(std::move(message));
  }
  request.messages = std::move(messages);
  return absl::OkStatus();
}

}  // namespace millrace
