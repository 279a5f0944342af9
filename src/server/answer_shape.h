#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/generator.h"
#include "server/json_text.h"
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
  bool as_ids = false;  // "token_id:17", for who must tell tokens of one text apart

  std::string operator()(TokenId token) const;
};

// What one dialect's answers look like. A choice is an element of `choices`; `logprobs` is null
// where none were asked for.
struct AnswerShape {
  std::string_view id_prefix;
  std::string_view whole_object;
  std::string_view chunk_object;
  Json (*opening)(int32_t index);  // a choice's first chunk; null: there is none
  Json (*delta)(int32_t index, const std::string& text, Json logprobs);
  Json (*closing)(int32_t index, std::string_view reason);
  Json (*whole)(int32_t index, const std::string& text, Json logprobs, std::string_view reason);
  Json (*logprobs)(const TokenNames& names, const std::vector<ScoredToken>& tokens);
  bool prompt_in_choice;  // what concerns the prompt stands in each choice, not beside them
};

extern const AnswerShape kChatShape;
extern const AnswerShape kCompletionShape;

std::string_view reason_text(FinishReason reason);
// vLLM's prompt_logprobs: null for the first token, then an object by token id.
Json prompt_logprobs(const Tokenizer& tokenizer, const std::vector<ScoredToken>& tokens);
Json usage_json(const RequestUsage& usage);

}  // namespace millrace
