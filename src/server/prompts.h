#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "server/api_request.h"
#include "server/named_model.h"

namespace millrace {

// What the generator gets, and the text that `echo` shows.
struct Prompt {
  std::vector<TokenId> tokens;
  std::string text;
};

// Tokenises a completion's prompts.
absl::StatusOr<std::vector<Prompt>> completion_prompts(const ApiRequest& request,
                                                       const NamedModel& model);
// Renders and tokenises a chat: one prompt.
absl::StatusOr<std::vector<Prompt>> chat_prompts(const ApiRequest& request,
                                                 const NamedModel& model);

// How many tokens a choice may have, or vLLM's sentence on a context that is too short. `field`
// is where the prompt came from.
absl::StatusOr<int64_t> tokens_allowed(const ApiRequest& request, int64_t prompt_tokens,
                                       int64_t tokens_default, int64_t context_max,
                                       std::string_view field);

}  // namespace millrace
