#include "core/generator.h"
#include "server/http/api_error.h"
#include "server/observe/metrics.h"
#include "server/routes/handlers.h"
#include "server/routes/openapi.h"

namespace millrace {

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

// 503 before there is a model, so that the first successful scrape has every series.
Reply get_metrics(const HttpRequest& /*request*/, const RouteContext& context) {
  if (context.model == nullptr) return http_error(503, "The model is still loading.");
  HttpResponse response;
  response.content_type = kMetricsContentType;
  response.body = context.metrics.text();
  return response;
}

Reply get_version(const HttpRequest& /*request*/, const RouteContext& /*context*/) {
  return json_response({{"version", MILLRACE_VERSION}});
}

Reply get_openapi(const HttpRequest& /*request*/, const RouteContext& context) {
  return json_response(openapi(read_context(context)));
}

}  // namespace millrace
