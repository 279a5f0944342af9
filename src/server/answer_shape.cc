#include "server/answer_shape.h"

#include <algorithm>

#include "server/token_text.h"

namespace millrace {
namespace {

// JSON has no infinity; clients know this number from vLLM.
constexpr float kLeastLogprob = -9999.0F;

const std::string kNull = "null";

float finite(float logprob) { return std::max(logprob, kLeastLogprob); }

Json chat_entry(const TokenNames& names, TokenId token, float logprob) {
  Json entry;
  entry["token"] = names(token);
  entry["logprob"] = finite(logprob);
  entry["bytes"] = bytes_json(names.tokenizer.piece(token));
  return entry;
}

void add_chat_score(const TokenNames& names, const ScoredToken& token, ScoreText& scores) {
  Json entry = chat_entry(names, token.token, token.logprob);
  Json top = Json::array();
  for (const TokenLogprob& likely : token.top) {
    top.push_back(chat_entry(names, likely.token, likely.logprob));
  }
  entry["top_logprobs"] = std::move(top);
  append_element(json_text(entry), scores.tokens);
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
  Json by_id = Json::object();
  const auto add = [&](TokenId id, float logprob, Json rank) {
    Json& entry = by_id[std::to_string(id)];
    if (!entry.is_null()) return;
    entry["logprob"] = finite(logprob);
    entry["rank"] = std::move(rank);
    entry["decoded_token"] = text_of(tokenizer, id);
  };
  int64_t rank = 0;
  for (const TokenLogprob& likely : token.top) add(likely.token, likely.logprob, ++rank);
  add(token.token, token.logprob, nullptr);
  return json_text(by_id);
}

void append_element(std::string_view element, std::string& list) {
  if (!list.empty()) list += ',';
  list += element;
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
