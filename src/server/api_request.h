#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/request.h"
#include "server/json_text.h"

namespace millrace {

// One prompt as a client gives it: text or token ids.
using PromptInput = std::variant<std::string, std::vector<TokenId>>;

// A request of any dialect, read and checked but for what needs the prompt's length.
struct ApiRequest {
  std::string model;             // empty: the served one
  std::string client_id;         // for logs
  Request generation;            // all but the prompt, stop.tokens_max and the seed
  std::optional<uint64_t> seed;  // drawn where the client gives none
  std::optional<int64_t> tokens_max;
  std::optional<int64_t> completion_tokens_max;  // wins over tokens_max
  std::optional<int64_t> best_of;

  std::vector<PromptInput> prompts;  // of a completion
  Json messages;                     // of a chat, checked
  Json template_values;              // chat_template_kwargs
  bool add_generation_prompt = true;
  std::optional<bool> add_special_tokens;

  bool stream = false;
  bool stream_options = false;  // given
  bool include_usage = false;
  bool echo = false;
  bool include_stop = false;
  bool skip_special = true;
  std::optional<bool> wants_logprobs;  // a chat's `logprobs`
  std::optional<int64_t> top_logprobs;
  bool wants_prompt_logprobs = false;  // besides what echo needs
  bool has_tools = false;
  bool tools_refused = false;  // tool_choice is "none"

  std::optional<int64_t> answer_tokens() const {
    return completion_tokens_max ? completion_tokens_max : tokens_max;
  }
};

}  // namespace millrace
