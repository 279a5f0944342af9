#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/check.h"
#include "server/http/api_error.h"
#include "server/request/request_body.h"

namespace millrace {
namespace {

constexpr ReadContext kContext = {.vocab_size = 300, .logprobs_max = 20};

void check_error(const absl::Status& status) {
  const Json object = Json::parse(error_json(status));
  const Json& error = object.at("error");
  CHECK(object.size() == 1 && error.size() == 4, "an error has four keys");
  const auto& message = error.at("message").get_ref<const std::string&>();
  CHECK(!message.empty() && message.size() <= 1000, "a message of {} bytes", message.size());
  CHECK(message.find('\n') == std::string::npos, "a message of several lines");
  CHECK(error_response(status).status == 400, "a bad request is a 400");
}

void check_request(const ApiRequest& request) {
  const Request& work = request.generation;
  CHECK(std::isfinite(work.sampling.temperature) && work.sampling.temperature >= 0);
  CHECK(work.sampling.repetition > 0 && work.sampling.top_k >= 0);
  CHECK(work.choices >= 1 && work.choices <= 128);
  CHECK(work.logprobs >= -1 && work.logprobs <= 20);
  CHECK(work.prompt_logprobs >= -1 && work.prompt_logprobs <= 20);
  CHECK(request.answer_tokens().value_or(1) >= 1);
  CHECK(work.stop.strings.size() <= 16);
  for (const std::string& stop : work.stop.strings) CHECK(!stop.empty());
  for (const auto& [token, bias] : work.sampling.logit_bias) {
    CHECK(token >= 0 && token < kContext.vocab_size && std::abs(bias) <= 100);
  }
  const auto check_tokens = [](std::span<const TokenId> ids) {
    for (const TokenId id : ids) CHECK(id >= 0 && id < kContext.vocab_size);
  };
  check_tokens(work.sampling.allowed);
  check_tokens(work.stop.tokens);
  if (request.tokens) check_tokens(*request.tokens);
  for (const PromptInput& prompt : request.prompts) {
    const auto* ids = std::get_if<std::vector<TokenId>>(&prompt);
    if (ids != nullptr) check_tokens(*ids);
  }
  for (const Json& message : request.messages) {
    CHECK(message.at("role").is_string() && message.contains("content"));
  }
}

// The first byte chooses the route.
void run(std::string_view input) {
  if (input.empty()) return;
  constexpr const RequestBody* kBodies[] = {&kChatBody, &kCompletionBody, &kTokenizeBody,
                                            &kDetokenizeBody, &kTemplateBody};
  const RequestBody& kind = *kBodies[static_cast<unsigned char>(input.front() - '0') % 5];
  input.remove_prefix(1);
  const absl::StatusOr<Json> body = parse_json(input);
  if (!body.ok()) {
    check_error(body.status());
    return;
  }
  CHECK(json_text(*parse_json(json_text(*body))) == json_text(*body), "JSON does not survive");
  const absl::StatusOr<ApiRequest> request = read_body(kind, *body, kContext);
  if (request.ok()) {
    check_request(*request);
  } else {
    check_error(request.status());
  }
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
