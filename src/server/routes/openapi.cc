#include "server/routes/openapi.h"

#include "server/answer/answer_schemas.h"
#include "server/request/request_body.h"
#include "server/routes/routes.h"

namespace millrace {
namespace {

constexpr std::string_view kSchemaPrefix = "#/components/schemas/";

Json reference(std::string_view schema) {
  return {{"$ref", fmt::format("{}{}", kSchemaPrefix, schema)}};
}

// The bounds that a schema's text names with a dollar.
void settle(const ReadContext& context, Json& schema) {
  if (schema == "$stops") schema = context.stops_max;
  if (schema == "$stop_tokens") schema = context.stop_tokens_max;
  if (schema == "$biases") schema = context.biases_max;
  if (!schema.is_structured()) return;
  for (Json& inner : schema) settle(context, inner);
}

// One rule as JSON Schema.
struct SchemaOf {
  const ReadContext& context;

  Json operator()(const NumberField& rule) const {
    Json schema = {{"type", "number"}};
    schema[rule.above_min ? "exclusiveMinimum" : "minimum"] = rule.min;
    if (rule.max != kNumberMax) schema["maximum"] = rule.max;
    return schema;
  }
  Json operator()(const IntegerField& rule) const { return integer(rule.min, rule.max); }
  Json operator()(const LogprobsField& /*rule*/) const { return integer(0, context.logprobs_max); }
  Json operator()(const FlagField& /*rule*/) const { return {{"type", "boolean"}}; }
  Json operator()(const TextField& /*rule*/) const { return {{"type", "string"}}; }
  Json operator()(const TokensField& /*rule*/) const {
    Json schema = {{"type", "array"}};
    schema["items"] = {{"type", "integer"}, {"minimum", 0}};
    return schema;
  }
  Json operator()(const ShapedField& rule) const {
    Json schema = Json::parse(rule.schema);
    settle(context, schema);
    return schema;
  }
  Json operator()(const HintField& /*rule*/) const { return Json::object(); }
  Json operator()(const UnsupportedField& rule) const {
    Json schema = Json::object();
    schema["enum"] = Json::array();
    for (std::string_view left = rule.harmless; !left.empty();) {
      const size_t end = std::min(left.find(' '), left.size());
      schema["enum"].push_back(Json::parse(left.substr(0, end)));
      left.remove_prefix(std::min(end + 1, left.size()));
    }
    return schema;
  }

  static Json integer(int64_t min, int64_t max) {
    Json schema = {{"type", "integer"}};
    schema["minimum"] = min;
    schema["maximum"] = max;
    return schema;
  }
};

// The same with null, which stands for absence.
Json or_null(Json schema) {
  if (schema.empty()) return schema;
  if (schema.contains("enum")) {
    schema["enum"].push_back(nullptr);
    return schema;
  }
  Json either = Json::object();
  either["anyOf"] = Json::array();
  either["anyOf"].push_back(std::move(schema));
  either["anyOf"].push_back({{"type", "null"}});
  return either;
}

Json body_schema(const RequestBody& body, const ReadContext& context) {
  const bool one_required = body.required.find(' ') == std::string_view::npos;
  Json properties = Json::object();
  for (const FieldTable& table : body.tables) {
    for (const Field& field : table.fields) {
      if (properties.contains(field.name)) continue;
      Json schema = field_schema(field, context);
      if (!(one_required && field.name == body.required)) schema = or_null(std::move(schema));
      const bool refused = std::holds_alternative<UnsupportedField>(field.rule);
      schema["description"] = refused ? "Not supported." : field.about;
      properties[std::string(field.name)] = std::move(schema);
    }
  }
  Json schema = {{"type", "object"}};
  schema["properties"] = std::move(properties);
  if (one_required) schema["required"] = Json::array({body.required});
  return schema;
}

Json content_of(std::string_view type, Json schema) {
  Json content = Json::object();
  content[std::string(type)]["schema"] = std::move(schema);
  return content;
}

Json operation(const Route& route) {
  Json operation = {{"summary", route.about}};
  if (route.body != nullptr) {
    operation["requestBody"]["required"] = true;
    operation["requestBody"]["content"] =
        content_of("application/json", reference(route.body->name));
  }
  if (const size_t brace = route.path.find('{'); brace != std::string_view::npos) {
    Json parameter = {{"name", route.path.substr(brace + 1, route.path.size() - brace - 2)}};
    parameter["in"] = "path";
    parameter["required"] = true;
    parameter["schema"] = {{"type", "string"}, {"minLength", 1}};
    operation["parameters"] = Json::array();
    operation["parameters"].push_back(std::move(parameter));
  }
  Json good = {{"description", "The answer."}};
  good["content"] = route.answer.empty() ? content_of("text/plain", {{"type", "string"}})
                                         : content_of("application/json", reference(route.answer));
  const bool streams = route.body != nullptr && field_of(*route.body, "stream") != nullptr;
  if (streams) good["content"].update(content_of("text/event-stream", {{"type", "string"}}));
  Json bad = {{"description", "An error."}};
  bad["content"] = content_of("application/json", reference("Error"));
  operation["responses"]["200"] = std::move(good);
  operation["responses"]["default"] = std::move(bad);
  return operation;
}

}  // namespace

Json field_schema(const Field& field, const ReadContext& context) {
  return std::visit(SchemaOf{context}, field.rule);
}

// A reference into an ordered object lives until the next member comes, so parts are made alone.
Json openapi(const ReadContext& context) {
  Json schemas = Json::object();
  for (const AnswerSchema& answer : answer_schemas()) {
    schemas[std::string(answer.name)] = Json::parse(answer.text);
  }
  Json paths = Json::object();
  for (const Route& route : routes()) {
    if (route.body != nullptr) {
      schemas[std::string(route.body->name)] = body_schema(*route.body, context);
    }
    const std::string method = route.method == "GET" ? "get" : "post";
    paths[std::string(route.path)][method] = operation(route);
  }
  Json document = {{"openapi", "3.1.0"}};
  document["info"] = {{"title", "Millrace"}, {"version", MILLRACE_VERSION}};
  document["security"] = Json::parse(R"([{}, {"key": []}])");
  document["paths"] = std::move(paths);
  document["components"]["schemas"] = std::move(schemas);
  document["components"]["securitySchemes"]["key"] = {{"type", "http"}, {"scheme", "bearer"}};
  return document;
}

}  // namespace millrace
