#include "server/routes.h"

#include <algorithm>
#include <limits>

#include "core/generator.h"
#include "server/answer_shape.h"
#include "server/api_error.h"
#include "server/fields.h"
#include "server/generation.h"
#include "server/metrics.h"
#include "server/prompts.h"
#include "server/request_log.h"

namespace millrace {
namespace {

// OpenAI's default for completions; a chat may fill the context.
constexpr int64_t kCompletionTokensDefault = 16;

// How one dialect's request becomes prompts and its events an answer.
struct Dialect {
  absl::StatusOr<ApiRequest> (*read)(const Json&, const ReadContext&);
  absl::StatusOr<std::vector<Prompt>> (*prompts)(const ApiRequest&, const NamedModel&);
  const AnswerShape& shape;
  int64_t tokens_default;
  std::string_view prompt_field;
};

HttpResponse json_response(const Json& json) {
  HttpResponse response;
  response.body = json_text(json);
  return response;
}

absl::Status settle_model(ApiRequest& request, const NamedModel& model) {
  if (request.model.empty()) {
    request.model = model.names.front();
    return absl::OkStatus();
  }
  for (const std::string& name : model.names) {
    if (name == request.model) return absl::OkStatus();
  }
  return at_field("model", with_code("model_not_found",
                                     not_found("The model `{}` does not exist.", request.model)));
}

absl::StatusOr<std::shared_ptr<Generation>> start(const Dialect& dialect, const HttpRequest& http,
                                                  const RouteContext& context) {
  const NamedModel& model = *context.model;
  ASSIGN_OR_RETURN(const Json body, parse_json(http.body));
  const ReadContext ranges = {.vocab_size = model.vocab_size,
                              .logprobs_max = context.limits.logprobs};
  ASSIGN_OR_RETURN(ApiRequest request, dialect.read(body, ranges));
  RETURN_IF_ERROR(settle_model(request, model));
  if (request.client_id.empty()) request.client_id = http.id;
  const int64_t count = std::max<int64_t>(std::ssize(request.prompts), 1);
  if (count * request.generation.choices > context.limits.choices) {
    return at_field(count > 1 ? dialect.prompt_field : "n",
                    invalid_argument("a request may ask for at most {} choices in all",
                                     context.limits.choices));
  }
  ASSIGN_OR_RETURN(std::vector<Prompt> prompts, dialect.prompts(request, model));
  if (context.logs_prompts) log_prompts(http.id, prompts, model.served.tokenizer);
  std::vector<int64_t> tokens_max;
  for (const Prompt& prompt : prompts) {
    ASSIGN_OR_RETURN(const int64_t allowed,
                     tokens_allowed(request, std::ssize(prompt.tokens), dialect.tokens_default,
                                    model.context_max, dialect.prompt_field));
    if (request.generation.stop.tokens_min > allowed) {
      return at_field(
          "min_tokens",
          invalid_argument("min_tokens must be at most max_tokens, which is {}", allowed));
    }
    tokens_max.push_back(allowed);
  }
  if (!request.seed) request.seed = context.seeds.next();
  return Generation::start(context.model, dialect.shape, std::move(request), std::move(prompts),
                           tokens_max, context.limits.pending_bytes);
}

Reply generate(const Dialect& dialect, const HttpRequest& request, const RouteContext& context) {
  absl::StatusOr<std::shared_ptr<Generation>> generation = start(dialect, request, context);
  if (!generation.ok()) return error_response(generation.status());
  return std::shared_ptr<AnswerSource>(*std::move(generation));
}

Reply post_chat(const HttpRequest& request, const RouteContext& context) {
  static const Dialect dialect = {read_chat, chat_prompts, kChatShape,
                                  std::numeric_limits<int64_t>::max(), "messages"};
  return generate(dialect, request, context);
}

Reply post_completion(const HttpRequest& request, const RouteContext& context) {
  static const Dialect dialect = {read_completion, completion_prompts, kCompletionShape,
                                  kCompletionTokensDefault, "prompt"};
  return generate(dialect, request, context);
}

Reply get_models(const HttpRequest& /*request*/, const RouteContext& context) {
  Json list = Json::array();
  for (const std::string& name : context.model->names) {
    Json item;
    item["id"] = name;
    item["object"] = "model";
    item["created"] = context.model->created;
    item["owned_by"] = "millrace";
    item["root"] = name;
    item["parent"] = nullptr;
    item["max_model_len"] = context.model->context_max;
    item["permission"] = Json::array();
    list.push_back(std::move(item));
  }
  Json object;
  object["object"] = "list";
  object["data"] = std::move(list);
  return json_response(object);
}

Reply get_health(const HttpRequest& /*request*/, const RouteContext& context) {
  if (context.model == nullptr) return http_error(503, "The model is still loading.");
  if (!context.model->served.generator.healthy()) {
    return http_error(503, "The engine has failed and serves no more.");
  }
  return json_response({{"status", "ok"}});
}

Reply get_ready(const HttpRequest& request, const RouteContext& context) {
  if (context.draining) return http_error(503, "The server is shutting down.");
  return get_health(request, context);
}

Reply get_load(const HttpRequest& /*request*/, const RouteContext& context) {
  return json_response({{"server_load", context.load}});
}

// Nothing before there is a model, so that the first scrape has every series.
Reply get_metrics(const HttpRequest& /*request*/, const RouteContext& context) {
  if (context.model == nullptr) return http_error(503, "The model is still loading.");
  HttpResponse response;
  response.content_type = kMetricsContentType;
  response.body = context.metrics.text();
  return response;
}

constexpr Route kRoutes[] = {
    {"POST", "/v1/chat/completions", post_chat, true, false},
    {"POST", "/v1/completions", post_completion, true, false},
    {"GET", "/v1/models", get_models, false, false},
    {"GET", "/health", get_health, false, true},
    {"GET", "/ready", get_ready, false, true},
    {"GET", "/load", get_load, false, true},
    {"GET", "/metrics", get_metrics, false, true},
};

bool takes(const Route& route, std::string_view method) {
  return route.method == method || (route.method == "GET" && method == "HEAD");
}

}  // namespace

std::span<const Route> routes() { return kRoutes; }

RouteMatch find_route(const HttpRequest& request) {
  RouteMatch match;
  std::string allowed;
  for (const Route& route : kRoutes) {
    if (route.path != request.path) continue;
    if (takes(route, request.method)) {
      match.route = &route;
      return match;
    }
    if (!allowed.empty()) allowed += ", ";
    allowed += route.method == "GET" ? "GET, HEAD" : route.method;
  }
  if (allowed.empty()) {
    match.error = http_error(404, "There is nothing at this path.");
  } else {
    match.error = http_error(405, fmt::format("This path takes {} only.", allowed));
    match.error.headers.emplace_back("Allow", allowed);
  }
  return match;
}

Reply answer(const Route& route, const HttpRequest& request, const RouteContext& context) {
  if (!route.operates && context.draining) return http_error(503, "The server is shutting down.");
  if (!route.operates && context.model == nullptr) {
    return http_error(503, "The model is still loading.");
  }
  return route.handle(request, context);
}

}  // namespace millrace
