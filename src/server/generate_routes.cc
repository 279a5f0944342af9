#include <limits>

#include "core/generator.h"
#include "server/answer_shape.h"
#include "server/api_error.h"
#include "server/generation.h"
#include "server/handlers.h"
#include "server/prompts.h"
#include "server/request_log.h"

namespace millrace {
namespace {

// How one dialect's request becomes prompts and its events an answer.
struct Dialect {
  const RequestBody& body;
  absl::StatusOr<std::vector<Prompt>> (*prompts)(const ApiRequest&, const NamedModel&);
  const AnswerShape& shape;
  int64_t tokens_default;
  std::string_view prompt_field;
};

absl::Status check_choices(const Dialect& dialect, const ApiRequest& request,
                           const ServerLimits& limits) {
  const int64_t count = std::max<int64_t>(std::ssize(request.prompts), 1);
  if (count * request.generation.choices <= limits.choices) return absl::OkStatus();
  return at_field(
      count > 1 ? dialect.prompt_field : "n",
      invalid_argument("a request may ask for at most {} choices in all", limits.choices));
}

// How many tokens each prompt's answers may have.
absl::StatusOr<std::vector<int64_t>> settle_tokens(const Dialect& dialect,
                                                   const ApiRequest& request,
                                                   const std::vector<Prompt>& prompts,
                                                   const RouteContext& context) {
  std::vector<int64_t> tokens_max;
  int64_t tokens = 0;
  for (const Prompt& prompt : prompts) {
    ASSIGN_OR_RETURN(const int64_t allowed,
                     tokens_allowed(request, std::ssize(prompt.tokens), dialect.tokens_default,
                                    context.model->context_max, dialect.prompt_field));
    if (request.generation.stop.tokens_min > allowed) {
      return at_field(
          "min_tokens",
          invalid_argument("min_tokens must be at most max_tokens, which is {}", allowed));
    }
    tokens_max.push_back(allowed);
    tokens += std::ssize(prompt.tokens) + allowed * request.generation.choices;
  }
  if (tokens <= context.limits.tokens) return tokens_max;
  return at_field("max_tokens",
                  invalid_argument("a request may take at most {} tokens in all: its prompts and "
                                   "n times max_tokens for each are {}",
                                   context.limits.tokens, tokens));
}

absl::StatusOr<std::shared_ptr<Generation>> start(const Dialect& dialect, const HttpRequest& http,
                                                  const RouteContext& context) {
  const NamedModel& model = *context.model;
  ASSIGN_OR_RETURN(ApiRequest request, read_request(dialect.body, http, context));
  if (request.client_id.empty()) request.client_id = http.id;
  request.generation.cache_salt ^= http.cache_salt;
  RETURN_IF_ERROR(check_choices(dialect, request, context.limits));
  ASSIGN_OR_RETURN(std::vector<Prompt> prompts, dialect.prompts(request, model));
  if (context.logs_prompts) log_prompts(http.id, prompts, model.served.tokenizer);
  ASSIGN_OR_RETURN(const std::vector<int64_t> tokens_max,
                   settle_tokens(dialect, request, prompts, context));
  request.generation.sampling.banned = tokens_of_words(request.bad_words, model.served.tokenizer);
  if (!request.seed) request.seed = context.seeds.next();
  return Generation::start(context.model, dialect.shape, std::move(request), std::move(prompts),
                           tokens_max, context.limits.pending_bytes);
}

Reply generate(const Dialect& dialect, const HttpRequest& request, const RouteContext& context) {
  absl::StatusOr<std::shared_ptr<Generation>> generation = start(dialect, request, context);
  if (!generation.ok()) return error_response(generation.status());
  return std::shared_ptr<AnswerSource>(*std::move(generation));
}

}  // namespace

Reply post_chat(const HttpRequest& request, const RouteContext& context) {
  static const Dialect dialect = {kChatBody, chat_prompts, kChatShape,
                                  std::numeric_limits<int64_t>::max(), "messages"};
  return generate(dialect, request, context);
}

Reply post_completion(const HttpRequest& request, const RouteContext& context) {
  static const Dialect dialect = {kCompletionBody, completion_prompts, kCompletionShape,
                                  kCompletionTokensDefault, "prompt"};
  return generate(dialect, request, context);
}

}  // namespace millrace
