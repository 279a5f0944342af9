// Renders templates for jinja_test.py: a line {"source": ..., "context": {...}} in, a line
// {"output": ...} or {"error": ..., "kind": ...} out.

#include <iostream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "chat/jinja/template.h"

namespace {

using Json = nlohmann::ordered_json;
using millrace::jinja::Template;

// 2026-11-22 12:34:56, which jinja_test.py tells its side too.
constexpr int64_t kNowSeconds = 1795350896;

absl::StatusOr<std::string> render(const Json& asked) {
  ASSIGN_OR_RETURN(const Template parsed, Template::parse(asked["source"].get<std::string>(), "t"));
  std::vector<millrace::jinja::Variable> variables;
  for (const auto& [name, value] : asked["context"].get_ref<const Json::object_t&>()) {
    variables.push_back({name, &value});
  }
  ASSIGN_OR_RETURN(auto text, parsed.render(variables, absl::FromUnixSeconds(kNowSeconds)));
  return std::move(text.text);
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    const absl::StatusOr<std::string> text = render(Json::parse(line));
    Json answer;
    if (text.ok()) {
      answer["output"] = *text;
    } else {
      answer["error"] = millrace::message_of(text.status());
      answer["kind"] = absl::StatusCodeToString(text.status().code());
    }
    std::cout << answer.dump(-1, ' ', true) << '\n';
  }
}
