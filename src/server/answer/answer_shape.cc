#include "server/answer/answer_shape.h"

#include <algorithm>

#include "server/answer/token_text.h"

namespace millrace {
namespace {

// JSON has no infinity; clients know this number from vLLM.
constexpr float kLeastLogprob = -9999.0F;

const std::string kNull = "null";

float finite(float logprob) { return std::max(logprob, kLeastLogprob); }

// What an entry says of a token, without the braces around it.
std::string chat_entry(const TokenNames& names, TokenId token, float logprob) {
  return fmt::format(R"("token":{},"logprob":{},"bytes":{})", json_text(names(token)),
                     json_text(finite(logprob)), bytes_text(names.tokenizer.piece(token)));
}

void add_chat_score(const TokenNames& names, const ScoredToken& token, ScoreText& scores) {
  std::string top;
  for (const TokenLogprob& likely : token.top) {
    append_element(fmt::format("{{{}}}", chat_entry(names, likely.token, likely.logprob)), top);
  }
  const std::string entry = chat_entry(names, token.token, token.logprob);
  append_element(fmt::format(R"({{{},"top_logprobs":[{}]}})", entry, top), scores.tokens);
}

std::string chat_logprobs(const ScoreText& scores) {
  return fmt::format(R"({{"content":[{}],"refusal":null}})", scores.tokens);
}

// The likeliest and the chosen one by their text; of tokens that decode alike the likelier stays.
Json completion_top(const TokenNames& names, const ScoredToken& token) {
  Json top = Json::object();
  const auto add = [&](TokenId id, float logprob) {
    const std::string text = names(id);
    const auto found = top.find(text);
    if (found == top.end()) {
      top[text] = finite(logprob);
    } else if (found->get<float>() < finite(logprob)) {
      *found = finite(logprob);
    }
  };
  for (const TokenLogprob& likely : token.top) add(likely.token, likely.logprob);
  add(token.token, token.logprob);
  return top;
}

void add_completion_score(const TokenNames& names, const ScoredToken& token, ScoreText& scores) {
  append_element(json_text(names(token.token)), scores.tokens);
  append_element(token.scored ? json_text(finite(token.logprob)) : kNull, scores.logprobs);
  append_element(fmt::to_string(token.text_offset), scores.offsets);
  append_element(token.scored ? json_text(completion_top(names, token)) : kNull, scores.likely);
}

std::string completion_logprobs(const ScoreText& scores) {
  return fmt::format(
      R"({{"text_offset":[{}],"token_logprobs":[{}],"tokens":[{}],"top_logprobs":[{}]}})",
      scores.offsets, scores.logprobs, scores.tokens, scores.likely);
}

// A choice whose text stands in the member `name`. It goes on where there is no ending.
std::string choice_text(int32_t index, std::string_view name, std::string_view value,
                        std::string_view logprobs, const Ending* ending = nullptr) {
  const std::string end =
      ending == nullptr ? kNull
                        : fmt::format(R"("{}","stop_reason":{})", ending->reason, ending->stop);
  return fmt::format(R"({{"index":{},"{}":{},"logprobs":{},"finish_reason":{}}})", index, name,
                     value, logprobs, end);
}

std::string chat_opening(int32_t index) {
  return choice_text(index, "delta", R"({"role":"assistant","content":""})", kNull);
}

std::string chat_delta(int32_t index, const std::string& text, std::string_view logprobs) {
  return choice_text(index, "delta", fmt::format(R"({{"content":{}}})", json_text(text)), logprobs);
}

std::string chat_closing(int32_t index, const Ending& ending) {
  return choice_text(index, "delta", "{}", kNull, &ending);
}

std::string chat_whole(int32_t index, const std::string& text, std::string_view logprobs,
                       const Ending& ending) {
  const std::string message =
      fmt::format(R"({{"role":"assistant","content":{},"refusal":null}})", json_text(text));
  return choice_text(index, "message", message, logprobs, &ending);
}

std::string completion_delta(int32_t index, const std::string& text, std::string_view logprobs) {
  return choice_text(index, "text", json_text(text), logprobs);
}

std::string completion_closing(int32_t index, const Ending& ending) {
  return choice_text(index, "text", "\"\"", kNull, &ending);
}

std::string completion_whole(int32_t index, const std::string& text, std::string_view logprobs,
                             const Ending& ending) {
  return choice_text(index, "text", json_text(text), logprobs, &ending);
}

}  // namespace

const AnswerShape kChatShape = {.id_prefix = "chatcmpl-",
                                .whole_object = "chat.completion",
                                .chunk_object = "chat.completion.chunk",
                                .opening = chat_opening,
                                .delta = chat_delta,
                                .closing = chat_closing,
                                .whole = chat_whole,
                                .add_score = add_chat_score,
                                .logprobs = chat_logprobs,
                                .prompt_in_choice = false};

const AnswerShape kCompletionShape = {.id_prefix = "cmpl-",
                                      .whole_object = "text_completion",
                                      .chunk_object = "text_completion",
                                      .opening = nullptr,
                                      .delta = completion_delta,
                                      .closing = completion_closing,
                                      .whole = completion_whole,
                                      .add_score = add_completion_score,
                                      .logprobs = completion_logprobs,
                                      .prompt_in_choice = true};

std::string TokenNames::operator()(TokenId token) const {
  return as_ids ? fmt::format("token_id:{}", token) : text_of(tokenizer, token);
}

std::string_view reason_text(FinishReason reason) {
  return reason == FinishReason::kLength ? "length" : "stop";
}

std::string prompt_logprob(const Tokenizer& tokenizer, const ScoredToken& token) {
  if (!token.scored) return kNull;
  std::string by_id;
  const auto add = [&](TokenId id, float logprob, const std::string& rank) {
    append_element(fmt::format(R"("{}":{{"logprob":{},"rank":{},"decoded_token":{}}})", id,
                               json_text(finite(logprob)), rank, json_text(text_of(tokenizer, id))),
                   by_id);
  };
  int64_t rank = 0;
  for (const TokenLogprob& likely : token.top) {
    add(likely.token, likely.logprob, fmt::to_string(++rank));
  }
  const bool is_likely =
      std::ranges::find(token.top, token.token, &TokenLogprob::token) != token.top.end();
  if (!is_likely) add(token.token, token.logprob, kNull);
  return fmt::format("{{{}}}", by_id);
}

void ScoreText::append(const ScoreText& more) {
  append_element(more.tokens, tokens);
  append_element(more.logprobs, logprobs);
  append_element(more.offsets, offsets);
  append_element(more.likely, likely);
}

Json usage_json(const RequestUsage& usage) {
  Json json;
  json["prompt_tokens"] = usage.prompt_tokens;
  json["completion_tokens"] = usage.generated_tokens;
  json["total_tokens"] = usage.prompt_tokens + usage.generated_tokens;
  json["prompt_tokens_details"]["cached_tokens"] = usage.cached_tokens;
  return json;
}

}  // namespace millrace
