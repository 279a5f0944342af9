#include "server/answer_shape.h"

#include <algorithm>
#include <span>

#include "server/token_text.h"

namespace millrace {
namespace {

// JSON has no infinity; clients know this number from vLLM.
constexpr float kLeastLogprob = -9999.0F;

float finite(float logprob) { return std::max(logprob, kLeastLogprob); }

Json chat_entry(const TokenNames& names, TokenId token, float logprob) {
  Json entry;
  entry["token"] = names(token);
  entry["logprob"] = finite(logprob);
  entry["bytes"] = bytes_json(names.tokenizer.piece(token));
  return entry;
}

Json chat_logprobs(const TokenNames& names, const std::vector<ScoredToken>& tokens) {
  Json content = Json::array();
  for (const ScoredToken& token : tokens) {
    Json entry = chat_entry(names, token.token, token.logprob);
    Json top = Json::array();
    for (const TokenLogprob& likely : token.top) {
      top.push_back(chat_entry(names, likely.token, likely.logprob));
    }
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  Json logprobs;
  logprobs["content"] = std::move(content);
  logprobs["refusal"] = nullptr;
  return logprobs;
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

Json completion_logprobs(const TokenNames& names, const std::vector<ScoredToken>& tokens) {
  Json offsets = Json::array(), logprobs = Json::array(), texts = Json::array(),
       tops = Json::array();
  for (const ScoredToken& token : tokens) {
    offsets.push_back(token.text_offset);
    logprobs.push_back(token.scored ? Json(finite(token.logprob)) : Json());
    texts.push_back(names(token.token));
    tops.push_back(token.scored ? completion_top(names, token) : Json());
  }
  Json object;
  object["text_offset"] = std::move(offsets);
  object["token_logprobs"] = std::move(logprobs);
  object["tokens"] = std::move(texts);
  object["top_logprobs"] = std::move(tops);
  return object;
}

Json chat_chunk(int32_t index, Json delta, Json logprobs, Json reason) {
  Json choice;
  choice["index"] = index;
  choice["delta"] = std::move(delta);
  choice["logprobs"] = std::move(logprobs);
  choice["finish_reason"] = std::move(reason);
  return choice;
}

Json chat_opening(int32_t index) {
  Json delta;
  delta["role"] = "assistant";
  delta["content"] = "";
  return chat_chunk(index, std::move(delta), nullptr, nullptr);
}

Json chat_delta(int32_t index, const std::string& text, Json logprobs) {
  Json delta;
  delta["content"] = text;
  return chat_chunk(index, std::move(delta), std::move(logprobs), nullptr);
}

Json chat_closing(int32_t index, std::string_view reason) {
  return chat_chunk(index, Json::object(), nullptr, reason);
}

Json chat_whole(int32_t index, const std::string& text, Json logprobs, std::string_view reason) {
  Json message;
  message["role"] = "assistant";
  message["content"] = text;
  message["refusal"] = nullptr;
  Json choice;
  choice["index"] = index;
  choice["message"] = std::move(message);
  choice["logprobs"] = std::move(logprobs);
  choice["finish_reason"] = reason;
  return choice;
}

Json completion_choice(int32_t index, const std::string& text, Json logprobs, Json reason) {
  Json choice;
  choice["index"] = index;
  choice["text"] = text;
  choice["logprobs"] = std::move(logprobs);
  choice["finish_reason"] = std::move(reason);
  return choice;
}

Json completion_delta(int32_t index, const std::string& text, Json logprobs) {
  return completion_choice(index, text, std::move(logprobs), nullptr);
}

Json completion_closing(int32_t index, std::string_view reason) {
  return completion_choice(index, "", nullptr, reason);
}

Json completion_whole(int32_t index, const std::string& text, Json logprobs,
                      std::string_view reason) {
  return completion_choice(index, text, std::move(logprobs), reason);
}

}  // namespace

const AnswerShape kChatShape = {.id_prefix = "chatcmpl-",
                                .whole_object = "chat.completion",
                                .chunk_object = "chat.completion.chunk",
                                .opening = chat_opening,
                                .delta = chat_delta,
                                .closing = chat_closing,
                                .whole = chat_whole,
                                .logprobs = chat_logprobs,
                                .prompt_in_choice = false};

const AnswerShape kCompletionShape = {.id_prefix = "cmpl-",
                                      .whole_object = "text_completion",
                                      .chunk_object = "text_completion",
                                      .opening = nullptr,
                                      .delta = completion_delta,
                                      .closing = completion_closing,
                                      .whole = completion_whole,
                                      .logprobs = completion_logprobs,
                                      .prompt_in_choice = true};

std::string TokenNames::operator()(TokenId token) const {
  return as_ids ? fmt::format("token_id:{}", token) : text_of(tokenizer, token);
}

std::string_view reason_text(FinishReason reason) {
  return reason == FinishReason::kLength ? "length" : "stop";
}

Json prompt_logprobs(const Tokenizer& tokenizer, const std::vector<ScoredToken>& tokens) {
  Json list = Json::array();
  for (const ScoredToken& token : tokens) {
    if (!token.scored) {
      list.push_back(nullptr);
      continue;
    }
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
    list.push_back(std::move(by_id));
  }
  return list;
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
