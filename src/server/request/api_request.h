#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/request.h"
#include "server/http/json_text.h"

namespace millrace {

// One prompt as a client gives it: text or token ids.
using PromptInput = std::variant<std::string, std::vector<TokenId>>;

// What of an answer a client wants besides its text.
struct AnswerOptions {
  bool include_usage = false;     // a last chunk of a stream
  bool continuous_usage = false;  // in every chunk
  bool timings = false;
  bool token_ids = false;        // the tokens of prompt and answer
  bool tokens_as_ids = false;    // in log-probabilities: "token_id:17" for a token's text
  bool prompt_logprobs = false;  // besides what echo needs
  bool echo = false;             // the prompt comes before the answer
  bool include_stop = false;     // the stop string stays in the text
};

// How messages become a prompt.
struct TemplateOptions {
  Json values;  // chat_template_kwargs
  Json documents;
  std::string reasoning_effort;
  std::optional<bool> add_generation_prompt;  // absent: true unless the last message goes on
  bool continue_final = false;                // the answer goes on with the last message
};

// How a prompt becomes tokens.
struct EncodingOptions {
  std::optional<bool> add_special;  // absent: as the route has it
  bool parse_special = true;
  std::optional<int64_t> tokens_kept;  // of a longer prompt; -1: as many as there is room for
  bool keep_first = false;             // of them, and not the last
};

// A request of any dialect, read and checked but for what needs the prompt's length.
struct ApiRequest {
  std::string model;             // empty: the served one
  std::string client_id;         // for logs, and in the answer's id
  Request generation;            // all but the prompt, bad words, stop.tokens_max and the seed
  std::optional<uint64_t> seed;  // drawn where the client gives none
  std::optional<int64_t> tokens_max;
  std::optional<int64_t> completion_tokens_max;  // wins over tokens_max
  std::optional<int64_t> predict_max;            // n_predict, until it is settled with tokens_max
  bool tokens_unbounded = false;  // n_predict was -1: the context alone ends an answer
  std::optional<float> repetition_penalty, repeat_penalty;  // until they are settled
  std::optional<int64_t> penalty_window;                    // repeat_last_n
  std::optional<int64_t> best_of;
  std::vector<std::string> bad_words;

  std::vector<PromptInput> prompts;            // of a completion
  bool prompts_listed = false;                 // as a list, if only of one
  Json messages;                               // of a chat, checked
  std::optional<std::string> content;          // llama-server's name for the text of /tokenize
  std::optional<std::vector<TokenId>> tokens;  // of /detokenize
  TemplateOptions chat;
  EncodingOptions encoding;

  bool stream = false;
  bool stream_options = false;  // given
  AnswerOptions answer;
  std::optional<bool> wants_logprobs;  // a chat's `logprobs`
  std::optional<int64_t> top_logprobs;
  bool has_tools = false;
  bool tools_refused = false;  // tool_choice is "none"
  bool token_texts = false;    // /tokenize: vLLM's token_strs
  bool with_pieces = false;    // /tokenize: llama-server's pieces

  std::optional<int64_t> answer_tokens() const {
    return completion_tokens_max ? completion_tokens_max : tokens_max;
  }
};

}  // namespace millrace
