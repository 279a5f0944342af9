#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "server/request/api_request.h"
#include "server/request/named_model.h"
#include "text/marked_text.h"

namespace millrace {

// OpenAI's default for completions; a chat may fill the context.
inline constexpr int64_t kCompletionTokensDefault = 16;

// What the generator gets, and the text that `echo` shows.
struct Prompt {
  std::vector<TokenId> tokens;
  std::string text;
  int64_t tokens_max = 0;  // of each answer to it
  uint64_t seed = 0;
  std::string field;  // where the client gave it
};

// A text's tokens, as the request wants them made.
std::vector<TokenId> encode_text(std::string_view text, const ApiRequest& request,
                                 const NamedModel& model);
// Tokenises a completion's prompts.
absl::StatusOr<std::vector<Prompt>> completion_prompts(const ApiRequest& request,
                                                       const NamedModel& model);

// What the model's template makes of a request's messages.
absl::StatusOr<MarkedText> render_chat(const ApiRequest& request, const NamedModel& model);
// Its tokens.
std::vector<TokenId> encode_chat(const MarkedText& text, const ApiRequest& request,
                                 const NamedModel& model);
// Renders and tokenises a chat: one prompt.
absl::StatusOr<std::vector<Prompt>> chat_prompts(const ApiRequest& request,
                                                 const NamedModel& model);

// The tokens of bad words: each by itself and, where that gives other tokens, after a space.
std::vector<std::vector<TokenId>> tokens_of_words(const std::vector<std::string>& words,
                                                  const Tokenizer& tokenizer);

// How many tokens a choice may have, or vLLM's sentence on a context that is too short. `field`
// is where the prompt came from.
absl::StatusOr<int64_t> tokens_allowed(const ApiRequest& request, int64_t prompt_tokens,
                                       int64_t tokens_default, int64_t context_max,
                                       std::string_view field);

}  // namespace millrace
