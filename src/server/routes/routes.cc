#include "server/routes/routes.h"

#include "server/http/api_error.h"
#include "server/routes/handlers.h"
#include "server/routes/no_route.h"

namespace millrace {
namespace {

const Route kRoutes[] = {
    {"POST", "/v1/chat/completions", post_chat, true, false,
     "An answer to a conversation, whole or as server-sent events.", "ChatAnswer", &kChatBody},
    {"POST", "/v1/completions", post_completion, true, false,
     "What comes after a text, whole or as server-sent events.", "CompletionAnswer",
     &kCompletionBody},
    {"GET", "/v1/models", get_models, false, false, "The names of the served model.", "Models"},
    {"GET", "/v1/models/{id}", get_model, false, false, "One of them.", "Model"},
    {"POST", "/tokenize", post_tokenize, true, false,
     "The tokens of a text or of a conversation, as vLLM or llama-server answers.", "Tokens",
     &kTokenizeBody},
    {"POST", "/detokenize", post_detokenize, true, false, "The text of tokens.", "Text",
     &kDetokenizeBody},
    {"POST", "/apply-template", post_apply_template, true, false,
     "What the model's template makes of a conversation.", "Prompt", &kTemplateBody},
    {"GET", "/health", get_health, false, true, "Whether the server can answer.", "Health"},
    {"GET", "/ready", get_ready, false, true,
     "The same, but 503 from when the server begins to shut down.", "Health"},
    {"GET", "/ping", get_health, false, true, "/health under the name that SageMaker asks for.",
     "Health"},
    {"POST", "/ping", get_health, false, true, "The same.", "Health"},
    {"GET", "/load", get_load, false, true, "How many requests to the model are being answered.",
     "Load"},
    {"GET", "/metrics", get_metrics, false, true,
     "Counts and times in Prometheus's text format, by vLLM's names."},
    {"GET", "/version", get_version, false, true, "The program's version.", "Version"},
    {"GET", "/openapi.json", get_openapi, true, true, "This interface as OpenAPI 3.1.", "Object"},
};

bool takes(const Route& route, std::string_view method) {
  return route.method == method || (route.method == "GET" && method == "HEAD");
}

bool leads_to(const Route& route, std::string_view path) {
  const size_t brace = route.path.find('{');
  if (brace == std::string_view::npos) return route.path == path;
  return path.size() > brace && path.starts_with(route.path.substr(0, brace));
}

}  // namespace

std::span<const Route> routes() { return kRoutes; }

std::vector<Handler> handlers() {
  std::vector<Handler> handlers;
  for (const Route& route : kRoutes) handlers.push_back(route.handler());
  return handlers;
}

RouteMatch find_route(const HttpRequest& request) {
  RouteMatch match;
  std::string allowed;
  for (const Route& route : kRoutes) {
    if (!leads_to(route, request.path)) continue;
    if (takes(route, request.method)) {
      match.route = &route;
      return match;
    }
    if (!allowed.empty()) allowed += ", ";
    allowed += route.method == "GET" ? "GET, HEAD" : route.method;
  }
  if (allowed.empty()) {
    match.error = http_error(404, no_route_message(request.path));
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
