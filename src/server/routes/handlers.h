#pragma once

#include "server/request/request_body.h"
#include "server/routes/routes.h"

namespace millrace {

// What the routes of a family do; the table is in routes.cc.

// generate_routes.cc
Reply post_chat(const HttpRequest& request, const RouteContext& context);
Reply post_completion(const HttpRequest& request, const RouteContext& context);

// token_routes.cc
Reply post_tokenize(const HttpRequest& request, const RouteContext& context);
Reply post_detokenize(const HttpRequest& request, const RouteContext& context);
Reply post_apply_template(const HttpRequest& request, const RouteContext& context);

// model_routes.cc
Reply get_models(const HttpRequest& request, const RouteContext& context);
Reply get_model(const HttpRequest& request, const RouteContext& context);

// operate_routes.cc
Reply get_health(const HttpRequest& request, const RouteContext& context);
Reply get_ready(const HttpRequest& request, const RouteContext& context);
Reply get_load(const HttpRequest& request, const RouteContext& context);
Reply get_metrics(const HttpRequest& request, const RouteContext& context);
Reply get_version(const HttpRequest& request, const RouteContext& context);
Reply get_openapi(const HttpRequest& request, const RouteContext& context);

// What they share: a request's body, read and with its model settled, and a small answer.
absl::StatusOr<ApiRequest> read_request(const RequestBody& body, const HttpRequest& http,
                                        const RouteContext& context);
ReadContext read_context(const RouteContext& context);
absl::Status unknown_model(std::string_view name, const NamedModel& model);
HttpResponse json_response(const Json& json);

}  // namespace millrace
