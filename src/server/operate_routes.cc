#include "server/api_error.h"
#include "server/handlers.h"
#include "server/openapi.h"

namespace millrace {

Reply get_health(const HttpRequest& /*request*/, const RouteContext& context) {
  if (context.model == nullptr) return http_error(503, "The model is still loading.");
  return json_response({{"status", "ok"}});
}

Reply get_ready(const HttpRequest& request, const RouteContext& context) {
  if (context.draining) return http_error(503, "The server is shutting down.");
  return get_health(request, context);
}

Reply get_version(const HttpRequest& /*request*/, const RouteContext& /*context*/) {
  return json_response({{"version", MILLRACE_VERSION}});
}

Reply get_openapi(const HttpRequest& /*request*/, const RouteContext& context) {
  return json_response(openapi(read_context(context)));
}

}  // namespace millrace
