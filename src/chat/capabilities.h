#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <absl/functional/function_ref.h>
#include <nlohmann/json_fwd.hpp>

#include "base/status.h"

namespace millrace {

// The forms in which a template shows the content of one role's messages; none: it does not show
// them.
struct ContentForms {
  bool text = false;   // a string
  bool parts = false;  // a list of text parts

  bool any() const { return text || parts; }
};

// What a template wants for the content of a message that calls tools and says nothing.
enum class CallContent : uint8_t { kEmpty, kNull, kEither };

// What a chat template does with a conversation.
struct ChatCapabilities {
  ContentForms user;
  ContentForms system;
  ContentForms assistant;
  ContentForms tool;
  bool developer_role = false;  // has turns of its own for developers, not only for any role's name
  bool several_systems = false;  // shows each of several system messages that begin a conversation
  bool later_systems = false;    // shows system messages wherever they stand
  bool tools = false;            // shows tool definitions
  bool tool_calls = false;       // shows the calls of an assistant's message
  bool parallel_tool_calls = false;  // several in one message
  bool text_arguments = false;       // wants a call's arguments as JSON text, not as an object
  bool plain_arguments = false;      // shows arguments that are any text, not an object
  CallContent call_content = CallContent::kEmpty;
  bool undefined_tools = false;    // fails where tools are none, and not where they are undefined
  bool generation_prompt = false;  // add_generation_prompt opens the answer
  bool alternating = false;        // refuses two users' messages in a row
  // The member of a message that carries its reasoning; "content": a part of type thinking; empty:
  // reasoning is not shown.
  std::string_view reasoning{};
  // The keyword argument that turns thinking on and off; empty: none does.
  std::string_view thinking_switch{};
};

// Renders the variables that it is given.
using RenderProbe = absl::FunctionRef<absl::StatusOr<std::string>(const nlohmann::ordered_json&)>;

// Finds out by rendering small conversations. A template that exhausts its limits in one of them is
// asked no more: what was not seen by then counts as not there.
ChatCapabilities probe_capabilities(RenderProbe render);

}  // namespace millrace
