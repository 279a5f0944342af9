#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/generator.h"
#include "server/http/json_text.h"
#include "text/tokenizer.h"

namespace millrace {

// A token as its log-probability entry needs it.
struct ScoredToken {
  TokenId token = 0;
  bool scored = false;  // false: the first of a prompt, which nothing comes before
  float logprob = 0;
  std::vector<TokenLogprob> top;
  int64_t text_offset = 0;  // characters of the choice's text before it
};

// How log-probabilities name tokens.
struct TokenNames {
  const Tokenizer& tokenizer;
  bool as_ids = false;  // "token_id:17", which tells tokens of one text apart

  std::string operator()(TokenId token) const;
};

// Log-probability entries as the elements of JSON lists. They become text one by one, as they come,
// so that the end of an answer has no work left and nothing larger than the text is held.
struct ScoreText {
  std::string tokens;                     // a chat's entries whole
  std::string logprobs, offsets, likely;  // of a completion

  bool empty() const { return tokens.empty(); }
  int64_t bytes() const {
    return std::ssize(tokens) + std::ssize(logprobs) + std::ssize(offsets) + std::ssize(likely);
  }
  void append(const ScoreText& more);
};

// Why a choice ended.
struct Ending {
  std::string_view reason;
  std::string stop = "null";  // as JSON text: the stop string or the id of the stop token that did
};

// What one dialect's answers look like, as JSON text. A choice is an element of `choices`;
// `logprobs` is "null" where none were asked for.
struct AnswerShape {
  std::string_view id_prefix;
  std::string_view whole_object;
  std::string_view chunk_object;
  std::string (*opening)(int32_t index);  // a choice's first chunk; null: there is none
  std::string (*delta)(int32_t index, const std::string& text, std::string_view logprobs);
  std::string (*closing)(int32_t index, const Ending& ending);
  std::string (*whole)(int32_t index, const std::string& text, std::string_view logprobs,
                       const Ending& ending);
  void (*add_score)(const TokenNames& names, const ScoredToken& token, ScoreText& scores);
  std::string (*logprobs)(const ScoreText& scores);
  bool prompt_in_choice;  // what concerns the prompt stands in each choice, not beside them
};

extern const AnswerShape kChatShape;
extern const AnswerShape kCompletionShape;

std::string_view reason_text(FinishReason reason);
// An element of vLLM's prompt_logprobs: null for the first token, then an object by token id.
std::string prompt_logprob(const Tokenizer& tokenizer, const ScoredToken& token);
Json usage_json(const RequestUsage& usage);

}  // namespace millrace
