#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/status.h"
#include "chat/capabilities.h"

namespace millrace {

// Messages as OpenAI's clients send them, in the shapes that a template with these capabilities
// wants:
//
// - Content: text parts become a string, joined with a line feed, where the template wants strings;
//   a string becomes one part where it wants parts. No content is null beside tool calls where the
//   template wants that, and the empty string elsewhere.
// - A call's arguments, JSON text from clients, become an object unless the template wants text. No
//   arguments and blank ones are {}; what is no JSON object stays text where the template shows any
//   text, and is {} elsewhere.
// - `reasoning_content`, `reasoning` and `thinking` are one thing: it goes where the template looks
//   for it.
// - A developer's message becomes the system's where the template does not know developers.
// - Of several system messages at the start a template that shows one only gets one, an empty line
//   between what they say.
// - What the system says where the template does not show it begins the next user's message, an
//   empty line between them, as other servers do it; at the end of a conversation it is a user's
//   message of its own, or ends the last one where the template refuses two in a row.
// - Users' messages in a row become one, an empty line between them, where the template refuses
//   them.
//
// Other members are kept. INVALID_ARGUMENT names what has another shape.
absl::StatusOr<nlohmann::ordered_json> fit_messages(const nlohmann::ordered_json& messages,
                                                    const ChatCapabilities& can);

}  // namespace millrace
