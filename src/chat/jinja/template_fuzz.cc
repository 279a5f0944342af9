#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "chat/jinja/template.h"

// A template and its context from one input: what comes before the first NUL byte is the source,
// what comes after it, where it is JSON, the messages.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using millrace::jinja::Origin;
  using Json = nlohmann::ordered_json;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t source_size = std::min(input.find('\0'), input.size());
  millrace::jinja::Limits limits;
  limits.steps_max = 20'000;
  limits.memory_bytes_max = 1 << 20;
  limits.text_bytes_max = 1 << 18;
  const auto parsed =
      millrace::jinja::Template::parse(input.substr(0, source_size), "fuzz", limits);
  if (!parsed.ok()) return 0;
  const std::string_view rest = input.substr(std::min(source_size + 1, input.size()));
  Json messages = Json::parse(rest, nullptr, false);
  if (messages.is_discarded()) messages = Json::array({{{"role", "user"}, {"content", rest}}});
  const Json token = "<s>";
  const std::vector<millrace::jinja::Variable> variables = {
      {"messages", &messages, Origin::kMessages}, {"bos_token", &token, Origin::kTrusted}};
  const auto text = parsed->render(variables, absl::UnixEpoch());
  if (!text.ok()) return 0;
  CHECK(text->check_integrity(), "written ranges out of order, or beyond the text");
  return 0;
}
