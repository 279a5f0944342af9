#include "server/routes/handlers.h"

#include <algorithm>

#include "server/http/api_error.h"

namespace millrace {
namespace {

absl::Status settle_model(ApiRequest& request, const NamedModel& model) {
  if (request.model.empty()) request.model = model.names.front();
  const bool served = std::ranges::find(model.names, request.model) != model.names.end();
  return served ? absl::OkStatus() : unknown_model(request.model, model);
}

}  // namespace

absl::Status unknown_model(std::string_view name, const NamedModel& model) {
  return at_field("model", with_code("model_not_found",
                                     not_found("The model `{}` does not exist. Served: `{}`.", name,
                                               fmt::join(model.names, "`, `"))));
}

ReadContext read_context(const RouteContext& context) {
  const ServerLimits& limits = context.limits;
  return {.vocab_size = context.model == nullptr ? 0 : context.model->vocab_size,
          .logprobs_max = limits.logprobs,
          .stops_max = limits.stops,
          .stop_bytes_max = limits.stop_bytes,
          .stop_tokens_max = limits.stop_tokens,
          .bad_word_bytes_max = limits.bad_word_bytes,
          .biases_max = limits.biases,
          .json = {.depth = limits.json_depth, .keys = limits.json_keys},
          .defaults = context.model == nullptr ? nullptr : context.model->served.defaults};
}

absl::StatusOr<ApiRequest> read_request(const RequestBody& body, const HttpRequest& http,
                                        const RouteContext& context) {
  ReadContext reading = read_context(context);
  reading.request_id = http.id;
  ASSIGN_OR_RETURN(const Json json, parse_json(http.body, reading.json));
  ASSIGN_OR_RETURN(ApiRequest request, read_body(body, json, reading));
  RETURN_IF_ERROR(settle_model(request, *context.model));
  return request;
}

HttpResponse json_response(const Json& json) {
  HttpResponse response;
  response.body = json_text(json);
  return response;
}

}  // namespace millrace
