#include "server/api_error.h"
#include "server/handlers.h"
#include "server/prompts.h"
#include "server/token_text.h"
#include "text/stream.h"
#include "text/unicode.h"

namespace millrace {
namespace {

// A token as llama-server writes it: with its text or, of a part of a character, its bytes.
Json piece_json(const Tokenizer& tokenizer, TokenId token) {
  const std::string_view piece = tokenizer.piece(token);
  Json item;
  item["id"] = token;
  item["piece"] = is_utf8(piece) ? Json(piece) : bytes_json(piece);
  return item;
}

// llama-server's dialect.
Json tokenize_content(const ApiRequest& request, const Tokenizer& tokenizer) {
  const std::vector<TokenId> tokens = tokenizer.encode(
      *request.content, EncodeOptions{.add_special = request.encoding.add_special.value_or(false),
                                      .parse_special = request.encoding.parse_special});
  Json object;
  object["tokens"] = Json::array();
  for (const TokenId token : tokens) {
    object["tokens"].push_back(request.with_pieces ? piece_json(tokenizer, token) : Json(token));
  }
  return object;
}

// vLLM's.
Json tokens_json(const std::vector<TokenId>& tokens, const ApiRequest& request,
                 const NamedModel& model) {
  Json object;
  object["count"] = tokens.size();
  object["max_model_len"] = model.context_max;
  object["tokens"] = tokens;
  object["token_strs"] = nullptr;
  if (request.token_texts) {
    object["token_strs"] = Json::array();
    for (const TokenId token : tokens) {
      object["token_strs"].push_back(text_of(model.served.tokenizer, token));
    }
  }
  return object;
}

absl::StatusOr<Json> tokenize(const HttpRequest& http, const RouteContext& context) {
  const NamedModel& model = *context.model;
  ASSIGN_OR_RETURN(const ApiRequest request, read_request(kTokenizeBody, http, context));
  if (request.content) return tokenize_content(request, model.served.tokenizer);
  if (request.messages.is_null()) {
    return tokens_json(encode_text(std::get<std::string>(request.prompts.front()), request, model),
                       request, model);
  }
  ASSIGN_OR_RETURN(const std::vector<Prompt> prompts, chat_prompts(request, model));
  return tokens_json(prompts.front().tokens, request, model);
}

absl::StatusOr<Json> detokenize(const HttpRequest& http, const RouteContext& context) {
  ASSIGN_OR_RETURN(const ApiRequest request, read_request(kDetokenizeBody, http, context));
  TextStream stream(context.model->served.tokenizer, {.skip_special = false, .at_start = true});
  std::string text;
  for (const TokenId token : *request.tokens) text += stream.push(token);
  text += stream.finish();
  Json object;
  object["prompt"] = text;
  object["content"] = text;
  return object;
}

absl::StatusOr<Json> apply_template(const HttpRequest& http, const RouteContext& context) {
  ASSIGN_OR_RETURN(const ApiRequest request, read_request(kTemplateBody, http, context));
  ASSIGN_OR_RETURN(const MarkedText text, render_chat(request, *context.model));
  Json object;
  object["prompt"] = text.text;
  return object;
}

Reply reply_with(const absl::StatusOr<Json>& json) {
  if (!json.ok()) return error_response(json.status());
  return json_response(*json);
}

}  // namespace

Reply post_tokenize(const HttpRequest& request, const RouteContext& context) {
  return reply_with(tokenize(request, context));
}

Reply post_detokenize(const HttpRequest& request, const RouteContext& context) {
  return reply_with(detokenize(request, context));
}

Reply post_apply_template(const HttpRequest& request, const RouteContext& context) {
  return reply_with(apply_template(request, context));
}

}  // namespace millrace
