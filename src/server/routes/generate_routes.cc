#include <limits>

#include "core/generator.h"
#include "server/answer/answer_shape.h"
#include "server/answer/generation.h"
#include "server/http/api_error.h"
#include "server/observe/metrics.h"
#include "server/observe/request_log.h"
#include "server/request/prompts.h"
#include "server/routes/handlers.h"

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

// Settles how many tokens each prompt's answers may have.
absl::Status settle_tokens(const Dialect& dialect, const ApiRequest& request,
                           const RouteContext& context, std::vector<Prompt>& prompts) {
  int64_t tokens = 0;
  for (Prompt& prompt : prompts) {
    ASSIGN_OR_RETURN(prompt.tokens_max,
                     tokens_allowed(request, std::ssize(prompt.tokens), dialect.tokens_default,
                                    context.model->context_max, prompt.field));
    if (request.generation.stop.tokens_min > prompt.tokens_max) {
      return at_field("min_tokens",
                      invalid_argument("min_tokens must be at most max_tokens, which is {}",
                                       prompt.tokens_max));
    }
    tokens += std::ssize(prompt.tokens) + prompt.tokens_max * request.generation.choices;
  }
  if (tokens <= context.limits.tokens) return absl::OkStatus();
  return at_field("max_tokens",
                  invalid_argument("a request may take at most {} tokens in all: its prompts and "
                                   "n times max_tokens for each are {}",
                                   context.limits.tokens, tokens));
}

// About what a token takes in lists of ids, and a log-probability with its token's text and bytes.
constexpr int64_t kIdBytes = 8;
constexpr int64_t kScoreBytes = 96;

// What of an answer its request asks for besides the answer's own text. In a stream that is what
// concerns the prompts: the rest goes as it comes. Where no length is asked for, the answer is
// judged while it grows.
absl::Status check_answer_bytes(const Dialect& dialect, const ApiRequest& request,
                                const std::vector<Prompt>& prompts, int64_t bytes_max) {
  const AnswerOptions& answer = request.answer;
  const int64_t choices = request.generation.choices;
  const int64_t scores = 1 + request.generation.logprobs;  // of a token; 0: none asked for
  const int64_t prompt_scores = 1 + request.generation.prompt_logprobs;
  const int64_t prompt_copies = dialect.shape.prompt_in_choice ? choices : 1;
  const bool echoes_scores = answer.echo && dialect.shape.prompt_in_choice && scores > 0;
  const bool bounded = !request.stream && request.answer_tokens();
  int64_t of_echo = 0, of_prompts = 0, of_answers = 0;
  for (const Prompt& prompt : prompts) {
    const int64_t tokens = std::ssize(prompt.tokens);
    of_echo += choices * (std::ssize(prompt.text) +
                          (echoes_scores ? tokens * prompt_scores * kScoreBytes : 0));
    of_prompts += prompt_copies * tokens *
                  ((answer.prompt_logprobs ? prompt_scores * kScoreBytes : 0) +
                   (answer.token_ids ? kIdBytes : 0));
    if (bounded) of_answers += choices * prompt.tokens_max * scores * kScoreBytes;
  }
  const int64_t bytes = of_echo + of_prompts + of_answers;
  if (bytes <= bytes_max) return absl::OkStatus();
  const int64_t most = std::max({of_echo, of_prompts, of_answers});
  const std::string_view field = most == of_echo          ? "echo"
                                 : most == of_answers     ? "logprobs"
                                 : answer.prompt_logprobs ? "prompt_logprobs"
                                                          : "return_token_ids";
  return at_field(field, invalid_argument("an answer's log-probabilities and what it repeats of "
                                          "its prompts may take at most {} bytes; with this {}, n "
                                          "and max_tokens they take about {}",
                                          bytes_max, field, bytes));
}

absl::StatusOr<std::shared_ptr<Generation>> start(const Dialect& dialect, const HttpRequest& http,
                                                  const RouteContext& context) {
  const NamedModel& model = *context.model;
  ASSIGN_OR_RETURN(ApiRequest request, read_request(dialect.body, http, context));
  if (request.client_id.empty()) request.client_id = http.id;
  request.generation.cache_salt ^= http.cache_salt;
  RETURN_IF_ERROR(check_choices(dialect, request, context.limits));
  ASSIGN_OR_RETURN(std::vector<Prompt> prompts, dialect.prompts(request, model));
  if (context.logs_prompts) {
    for (const Prompt& prompt : prompts) {
      log_prompt(http.id, prompt.tokens, model.served.tokenizer);
    }
  }
  RETURN_IF_ERROR(settle_tokens(dialect, request, context, prompts));
  RETURN_IF_ERROR(check_answer_bytes(dialect, request, prompts, context.limits.answer_bytes));
  for (Prompt& prompt : prompts) prompt.seed = request.seed ? *request.seed : context.seeds.next();
  request.generation.sampling.banned = tokens_of_words(request.bad_words, model.served.tokenizer);
  return Generation::start(context.model, dialect.shape, std::move(request), std::move(prompts),
                           context.limits);
}

Reply generate(const Dialect& dialect, const HttpRequest& request, const RouteContext& context) {
  absl::StatusOr<std::shared_ptr<Generation>> generation = start(dialect, request, context);
  if (absl::IsResourceExhausted(generation.status())) context.metrics.rejected();
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
