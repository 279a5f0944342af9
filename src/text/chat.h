#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <absl/time/time.h>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "text/marked_text.h"

namespace millrace {

// What a chat template is rendered with. `messages` is a list of objects as OpenAI's clients send
// them, checked by the caller for shape; text parts of a content list are joined with a line feed
// before the template sees them.
struct ChatContext {
  nlohmann::ordered_json messages;
  nlohmann::ordered_json tools;  // null: none
  nlohmann::ordered_json extra;  // object: chat_template_kwargs; null: none
  bool add_generation_prompt = true;
  std::string bos_token;  // spellings; empty where the vocabulary has none
  std::string eos_token;
  absl::Time now;  // for strftime_now, UTC
};

// A compiled chat template. Immutable and safe from many threads.
class ChatTemplate {
 public:
  // Errors carry name, line, column, the line with a caret, and what was expected.
  static absl::StatusOr<ChatTemplate> parse(std::string_view source, std::string_view name);

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // What the template makes of the context, with the bytes that came from message content marked as
  // written. INVALID_ARGUMENT: the template refuses (raise_exception) or fails. RESOURCE_EXHAUSTED:
  // it went beyond its limits.
  absl::StatusOr<MarkedText> render(const ChatContext& context) const;

 private:
  struct Compiled;
  explicit ChatTemplate(std::unique_ptr<const Compiled> compiled);

  std::unique_ptr<const Compiled> compiled_;
};

}  // namespace millrace
