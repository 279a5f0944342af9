#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/http_message.h"
#include "server/http/random_id.h"
#include "server/http/server_limits.h"
#include "server/request/named_model.h"
#include "server/request/request_body.h"

namespace millrace {

class Metrics;

// What handlers have of the server.
struct RouteContext {
  const ServerLimits& limits;
  SeedSource& seeds;
  std::shared_ptr<const NamedModel> model;  // null: not loaded yet
  bool draining = false;
  Metrics& metrics;
  int64_t load = 0;  // requests to the model that are being answered
  bool logs_prompts = false;
};

struct Route {
  std::string_view method;
  std::string_view path;  // ends with a name in braces: whatever is there, and something is
  Reply (*handle)(const HttpRequest&, const RouteContext&);
  bool heavy;     // reads, renders and tokenises: not on the connections' thread
  bool operates;  // about the server, not the model: answers while there is none, and in a drain

  // For the documents.
  std::string_view about = {};        // one line
  std::string_view answer = {};       // a name of answer_schemas.h; empty: plain text
  const RequestBody* body = nullptr;  // null: none

  Handler handler() const { return {method, path, operates}; }
};

std::span<const Route> routes();
std::vector<Handler> handlers();  // of all routes

// The route for a request, or the error that there is none.
struct RouteMatch {
  const Route* route = nullptr;
  HttpResponse error;
};
RouteMatch find_route(const HttpRequest& request);

// The answer of a route, or an error while it cannot be served.
Reply answer(const Route& route, const HttpRequest& request, const RouteContext& context);

}  // namespace millrace
