#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <absl/container/flat_hash_set.h>
#include <gtest/gtest.h>

#include "server/request/request_body.h"
#include "server/routes/openapi.h"
#include "server/routes/routes.h"

namespace millrace {
namespace {

constexpr const char* kDocument = "docs/api.md";
constexpr const char* kRenew = "MILLRACE_RENEW";

std::string quoted(const Json& value) { return fmt::format("`{}`", json_text(value)); }

std::string words_of(const Json& schema);

std::string either(const Json& schemas, const char* between, std::string (*words)(const Json&)) {
  std::string text;
  for (const Json& schema : schemas) text += (text.empty() ? "" : between) + words(schema);
  return text;
}

std::string range_of(const Json& schema) {
  const Json above = schema.value("exclusiveMinimum", Json());
  const Json min = schema.value("minimum", Json());
  const Json max = schema.value("maximum", Json());
  const bool bounded = !max.is_null() && max != kIntegerMax;
  if (!above.is_null())
    return fmt::format(" above {}{}", above.dump(),
                       bounded ? fmt::format(" to {}", max.dump()) : "");
  if (min.is_null()) return {};
  return bounded ? fmt::format(", {} to {}", min.dump(), max.dump())
                 : fmt::format(", {} or more", min.dump());
}

// A schema in words.
std::string words_of(const Json& schema) {
  if (schema.empty()) return "anything";
  if (schema.contains("const")) return quoted(schema["const"]);
  if (schema.contains("enum")) return either(schema["enum"], ", ", quoted);
  if (schema.contains("oneOf")) return either(schema["oneOf"], "; or ", words_of);
  const std::string type = schema["type"];
  if (type == "boolean") return "true or false";
  if (type == "string") return "text";
  if (type == "array") {
    const std::string most = schema.contains("maxItems")
                                 ? fmt::format("at most {} of: ", schema["maxItems"].dump())
                                 : "";
    return fmt::format("list of {}{}", most, words_of(schema["items"]));
  }
  return type + range_of(schema);
}

bool is_refused(const Field& field) { return std::holds_alternative<UnsupportedField>(field.rule); }

std::string anchor(std::string_view title) {
  std::string text;
  for (const char c : title) text += c == ' ' ? '-' : static_cast<char>(std::tolower(c));
  return text;
}

void write_table(const FieldTable& table, std::ostream& out) {
  out << "\n### " << table.title << "\n\n| field | takes | |\n|---|---|---|\n";
  std::string refused;
  for (const Field& field : table.fields) {
    const Json schema = field_schema(field, {});
    if (is_refused(field)) {
      const std::string but =
          schema["enum"].empty() ? "" : fmt::format(" (but {})", words_of(schema));
      refused += fmt::format("{}`{}`{}", refused.empty() ? "" : ", ", field.name, but);
    } else {
      out << fmt::format("| `{}` | {} | {} |\n", field.name, words_of(schema), field.about);
    }
  }
  if (!refused.empty()) out << "\nNot supported: " << refused << ".\n";
}

void write_route(const Route& route, std::ostream& out) {
  out << fmt::format("\n### {} {}\n\n{}\n", route.method, route.path, route.about);
  if (route.body == nullptr) return;
  std::string tables;
  for (const FieldTable& table : route.body->tables) {
    tables +=
        fmt::format("{}[{}](#{})", tables.empty() ? "" : ", ", table.title, anchor(table.title));
  }
  out << "\nFields: " << tables << ".\n";
}

std::string document() {
  std::ostringstream out;
  out << "# What the server answers\n\n"
         "Made from the tables by which the server finds routes and reads requests; so is "
         "`GET /openapi.json`.\n\n"
         "A field may be null, which is the same as leaving it out. One that is named as not "
         "supported is answered with 400 and the code `unsupported_parameter`, unless its value "
         "asks for nothing; one that is not named here is ignored. Integers have no fractions, and "
         "an object has no key twice. Limits that options of `millrace serve` change are shown "
         "with their defaults.\n\n"
         "An error is `{\"error\": {\"message\", \"type\", \"param\", \"code\"}}`: one line, the "
         "field at fault or a path to it, and a name for programs; the last two may be null.\n\n"
         "A client that closes its connection, or only its own direction of it, has left: its "
         "request is cancelled wherever it is. A request has no trailer, and shows at most one key "
         "in each of `Authorization: Bearer KEY` and `X-Api-Key`.\n\n"
         "A request with an `Origin`, from a browser's page, is answered with 403 unless the "
         "origin is "
         "the server's own or one of `--allowed-origins`. Without an API key and on a loopback "
         "address "
         "so is a `Host` that is not a local name (`localhost`, `*.localhost`, `127.0.0.0/8`, "
         "`[::1]`, "
         "the `--host`) or one of `--allowed-hosts`; elsewhere hosts are judged where that option "
         "is "
         "given. A body with a `Content-Encoding` is a 415.\n\n"
         "## Routes\n";
  for (const Route& route : routes()) write_route(route, out);
  out << "\n## Fields\n";
  absl::flat_hash_set<std::string_view> written;
  for (const Route& route : routes()) {
    if (route.body == nullptr) continue;
    for (const FieldTable& table : route.body->tables) {
      if (written.insert(table.title).second) write_table(table, out);
    }
  }
  return out.str();
}

TEST(ApiDocTest, TheDocumentIsWhatTheTablesSay) {
  const std::string made = document();
  if (std::getenv(kRenew) != nullptr) std::ofstream(kDocument) << made;
  std::ifstream file(kDocument);
  if (!file && !std::filesystem::exists("src/FLOORS")) {
    GTEST_SKIP() << "not at the root of the source tree";
  }
  std::stringstream kept;
  kept << file.rdbuf();
  EXPECT_TRUE(kept.str() == made) << kDocument << " is old: renew it from the root with " << kRenew
                                  << "=1 server_test --gtest_filter='ApiDocTest.*'";
}

TEST(ApiDocTest, EveryRouteAndFieldIsDescribed) {
  for (const Route& route : routes()) {
    EXPECT_FALSE(route.about.empty()) << route.path;
    if (route.body == nullptr) continue;
    for (const FieldTable& table : route.body->tables) {
      for (const Field& field : table.fields) {
        EXPECT_NE(field.about.empty(), !is_refused(field)) << field.name;
        EXPECT_EQ(field_of(*route.body, field.name), &field) << field.name << " is there twice";
      }
    }
  }
}

// Every reference leads somewhere, and every bound is a number.
void check_references(const Json& document, const Json& part) {
  const bool bound = part.is_string() && part.get<std::string>().starts_with("$");
  EXPECT_FALSE(bound) << part;
  if (!part.is_structured()) return;
  if (part.is_object() && part.contains("$ref")) {
    const std::string target = part["$ref"].get<std::string>().substr(1);
    EXPECT_TRUE(document.contains(Json::json_pointer(target))) << target;
  }
  for (const Json& inner : part) check_references(document, inner);
}

TEST(ApiDocTest, TheOpenApiDocumentIsWhole) {
  const Json document = openapi({.vocab_size = 10, .logprobs_max = 5, .stops_max = 3});
  EXPECT_EQ(document["openapi"], "3.1.0");
  check_references(document, document);
  const Json& chat = document["components"]["schemas"]["ChatRequest"];
  EXPECT_EQ(chat["required"].dump(), R"(["messages"])");
  EXPECT_EQ(chat["properties"]["top_logprobs"].dump(),
            R"({"anyOf":[{"type":"integer","minimum":0,"maximum":5},{"type":"null"}],)"
            R"("description":"And of this many of the likeliest at each. Only with logprobs."})");
  EXPECT_EQ(chat["properties"]["stop"]["anyOf"][0]["oneOf"][1]["maxItems"], 3);
  EXPECT_EQ(chat["properties"]["store"].dump(),
            R"({"enum":[false,null],"description":"Not supported."})");
  const Json& post = document["paths"]["/v1/chat/completions"]["post"];
  EXPECT_TRUE(post["responses"]["200"]["content"].contains("text/event-stream"));
  const Json& one = document["paths"]["/v1/models/{id}"]["get"];
  EXPECT_EQ(one["parameters"][0]["name"], "id");
  EXPECT_FALSE(document["paths"]["/tokenize"]["post"]["responses"]["200"]["content"].contains(
      "text/event-stream"));
}

}  // namespace
}  // namespace millrace
