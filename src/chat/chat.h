#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <absl/time/time.h>
#include <nlohmann/json.hpp>

#include "base/metadata.h"
#include "base/status.h"
#include "chat/capabilities.h"
#include "text/marked_text.h"

namespace millrace {

// What a client asks for.
struct ChatContext {
  nlohmann::ordered_json messages;  // as OpenAI's clients send them
  nlohmann::ordered_json tools;     // their definitions; null: none
  nlohmann::ordered_json extra;     // object: chat_template_kwargs; null: none
  bool add_generation_prompt = true;
  std::string bos_token;  // spellings; empty where the vocabulary has none
  std::string eos_token;
  absl::Time now;  // for strftime_now, UTC
};

// A compiled chat template that knows what it can do. Immutable and safe from many threads.
class ChatTemplate {
 public:
  // Errors carry name, line, column, the line with a caret, and what was expected.
  static absl::StatusOr<ChatTemplate> parse(std::string_view source, std::string_view name);

  // The template of a model: `tokenizer.chat_template`, and `tokenizer.chat_template.tool_use` for
  // conversations with tools where there is one. With a variant, `tokenizer.chat_template.VARIANT`
  // alone. NOT_FOUND: the model has none.
  static absl::StatusOr<ChatTemplate> of_model(const Metadata& metadata,
                                               std::string_view variant = "");

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  const ChatCapabilities& capabilities() const;

  // What the template makes of the context, its messages fitted to what the template wants (see
  // messages.h). Whatever a client wrote is marked as written: messages, tools and keyword
  // arguments, but for the names of the five standard roles. INVALID_ARGUMENT: the messages
  // have another shape, or the template knows no tools, refuses (raise_exception) or fails.
  // RESOURCE_EXHAUSTED: it went beyond its limits.
  absl::StatusOr<MarkedText> render(const ChatContext& context) const;

  // Why render() failed, for clients: without the name, place and text of the template.
  static std::string reason_of(const absl::Status& status);

  // What the template makes of exactly these variables, an object, as its authors' own code would
  // render it. Only names that end with `_token` hold spellings of tokens.
  absl::StatusOr<MarkedText> render_exactly(const nlohmann::ordered_json& variables,
                                            absl::Time now) const;

 private:
  struct Compiled;
  explicit ChatTemplate(std::unique_ptr<const Compiled> compiled);

  std::unique_ptr<const Compiled> compiled_;
};

}  // namespace millrace
