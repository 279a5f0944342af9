#include <algorithm>

#include "server/http/api_error.h"
#include "server/routes/handlers.h"

namespace millrace {
namespace {

constexpr std::string_view kPrefix = "/v1/models/";

Json model_item(const std::string& name, const NamedModel& model) {
  Json item;
  item["id"] = name;
  item["object"] = "model";
  item["created"] = model.created;
  item["owned_by"] = "millrace";
  item["root"] = name;
  item["parent"] = nullptr;
  item["max_model_len"] = model.context_max;
  item["permission"] = Json::array();
  return item;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// "%2F" is "/"; what is no such escape stays as it is.
std::string percent_decoded(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
                        hex_digit(text[i + 2]) >= 0;
    if (escape) {
      decoded += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

}  // namespace

Reply get_models(const HttpRequest& /*request*/, const RouteContext& context) {
  Json object;
  object["object"] = "list";
  object["data"] = Json::array();
  for (const std::string& name : context.model->names) {
    object["data"].push_back(model_item(name, *context.model));
  }
  return json_response(object);
}

Reply get_model(const HttpRequest& request, const RouteContext& context) {
  const std::string name = percent_decoded(std::string_view(request.path).substr(kPrefix.size()));
  const std::vector<std::string>& names = context.model->names;
  const bool served = std::ranges::find(names, name) != names.end();
  if (!served) return error_response(unknown_model(name, *context.model));
  return json_response(model_item(name, *context.model));
}

}  // namespace millrace
