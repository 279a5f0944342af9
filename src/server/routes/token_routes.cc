#include "server/answer/token_text.h"
#include "server/http/api_error.h"
#include "server/request/prompts.h"
#include "server/routes/handlers.h"
#include "text/stream.h"
#include "text/unicode/unicode.h"

namespace millrace {
namespace {

absl::Status check_length(std::string_view answer, std::string_view field, int64_t bytes_max) {
  if (std::ssize(answer) <= bytes_max) return absl::OkStatus();
  return at_field(
      field, invalid_argument("the answer would be longer than {} bytes: {} is too long", bytes_max,
                              field));
}

// Appends a list with what `write` appends for each token, unless the answer gets too long.
template <typename Write>
absl::Status append_list(const std::vector<TokenId>& tokens, std::string_view field,
                         int64_t bytes_max, std::string& answer, Write write) {
  answer += '[';
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) answer += ',';
    write(tokens[i]);
    RETURN_IF_ERROR(check_length(answer, field, bytes_max));
  }
  answer += ']';
  return absl::OkStatus();
}

// llama-server's dialect. Of a part of a character the piece is its bytes.
absl::StatusOr<std::string> tokenize_content(const ApiRequest& request, const Tokenizer& tokenizer,
                                             int64_t bytes_max) {
  const std::vector<TokenId> tokens = tokenizer.encode(
      *request.content, EncodeOptions{.add_special = request.encoding.add_special.value_or(false),
                                      .parse_special = request.encoding.parse_special});
  std::string answer = R"({"tokens":)";
  const auto write = [&](TokenId token) {
    if (!request.with_pieces) {
      fmt::format_to(std::back_inserter(answer), "{}", token);
      return;
    }
    const std::string_view piece = tokenizer.piece(token);
    fmt::format_to(std::back_inserter(answer), R"({{"id":{},"piece":{}}})", token,
                   is_utf8(piece) ? json_text(piece) : bytes_text(piece));
  };
  RETURN_IF_ERROR(append_list(tokens, "content", bytes_max, answer, write));
  return answer + '}';
}

// vLLM's.
absl::StatusOr<std::string> list_tokens(const std::vector<TokenId>& tokens, std::string_view field,
                                        const ApiRequest& request, const RouteContext& context) {
  const NamedModel& model = *context.model;
  const int64_t bytes_max = context.limits.answer_bytes;
  std::string answer =
      fmt::format(R"({{"count":{},"max_model_len":{},"tokens":)", tokens.size(), model.context_max);
  RETURN_IF_ERROR(append_list(tokens, field, bytes_max, answer, [&](TokenId token) {
    fmt::format_to(std::back_inserter(answer), "{}", token);
  }));
  answer += R"(,"token_strs":)";
  if (!request.token_texts) return answer + "null}";
  RETURN_IF_ERROR(append_list(tokens, field, bytes_max, answer, [&](TokenId token) {
    answer += json_text(text_of(model.served.tokenizer, token));
  }));
  return answer + '}';
}

absl::StatusOr<std::string> tokenize(const HttpRequest& http, const RouteContext& context) {
  const NamedModel& model = *context.model;
  ASSIGN_OR_RETURN(const ApiRequest request, read_request(kTokenizeBody, http, context));
  if (request.content) {
    return tokenize_content(request, model.served.tokenizer, context.limits.answer_bytes);
  }
  if (request.messages.is_null()) {
    const auto& text = std::get<std::string>(request.prompts.front());
    return list_tokens(encode_text(text, request, model), "prompt", request, context);
  }
  ASSIGN_OR_RETURN(const MarkedText text, render_chat(request, model));
  return list_tokens(encode_chat(text, request, model), "messages", request, context);
}

absl::StatusOr<std::string> detokenize(const HttpRequest& http, const RouteContext& context) {
  ASSIGN_OR_RETURN(const ApiRequest request, read_request(kDetokenizeBody, http, context));
  TextStream stream(context.model->served.tokenizer, {.skip_special = false, .at_start = true});
  const int64_t bytes_max = context.limits.answer_bytes / 2;  // it stands there twice
  std::string text;
  for (const TokenId token : *request.tokens) {
    text += stream.push(token);
    RETURN_IF_ERROR(check_length(text, "tokens", bytes_max));
  }
  const std::string shown = json_text(text + stream.finish());
  return fmt::format(R"({{"prompt":{},"content":{}}})", shown, shown);
}

absl::StatusOr<std::string> apply_template(const HttpRequest& http, const RouteContext& context) {
  ASSIGN_OR_RETURN(const ApiRequest request, read_request(kTemplateBody, http, context));
  ASSIGN_OR_RETURN(const MarkedText text, render_chat(request, *context.model));
  return fmt::format(R"({{"prompt":{}}})", json_text(text.text));
}

Reply reply_with(absl::StatusOr<std::string> json) {
  if (!json.ok()) return error_response(json.status());
  HttpResponse response;
  response.body = *std::move(json);
  return response;
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
