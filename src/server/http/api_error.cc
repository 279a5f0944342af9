#include "server/http/api_error.h"

#include <algorithm>

#include <absl/strings/cord.h>
#include <absl/strings/str_replace.h>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "server/http/json_text.h"

namespace millrace {
namespace {

constexpr std::string_view kParamUrl = "millrace/param";
constexpr std::string_view kCodeUrl = "millrace/code";
constexpr std::string_view kRetryAfterUrl = "millrace/retry-after";
constexpr size_t kMessageBytesMax = 1000;
constexpr size_t kPayloadBytesMax = 200;  // a field's path may hold what a client wrote

struct Kind {
  absl::StatusCode code;
  int http_status;
  const char* type;
  const char* api_code;  // null: none
};
constexpr Kind kKinds[] = {
    {absl::StatusCode::kInvalidArgument, 400, "invalid_request_error", nullptr},
    {absl::StatusCode::kOutOfRange, 400, "invalid_request_error", nullptr},
    {absl::StatusCode::kUnimplemented, 400, "invalid_request_error", "unsupported_parameter"},
    {absl::StatusCode::kNotFound, 404, "invalid_request_error", "not_found"},
    {absl::StatusCode::kResourceExhausted, 429, "rate_limit_error", "rate_limit_exceeded"},
    {absl::StatusCode::kUnavailable, 503, "server_error", "service_unavailable"},
    {absl::StatusCode::kCancelled, 503, "server_error", "cancelled"},
};
constexpr Kind kInternalKind = {absl::StatusCode::kInternal, 500, "server_error", "internal_error"};

const Kind& kind_of(absl::StatusCode code) {
  const auto* found = std::find_if(std::begin(kKinds), std::end(kKinds),
                                   [&](const Kind& k) { return k.code == code; });
  return found == std::end(kKinds) ? kInternalKind : *found;
}

// At most `bytes_max` bytes of whole characters.
std::string_view shortened(std::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  const auto is_continuation = [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0U) == 0x80U;
  };
  size_t end = bytes_max;
  while (end > 0 && is_continuation(text[end])) --end;
  return text.substr(0, end);
}

// One line: control characters and what else ends lines in Unicode become spaces.
std::string clean(std::string_view message) {
  std::string line = absl::StrReplaceAll(to_absl(shortened(message, kMessageBytesMax)),
                                         {{"\u0085", " "}, {"\u2028", " "}, {"\u2029", " "}});
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20U) c = ' ';
  }
  return line;
}

Json payload(const absl::Status& status, std::string_view url, const char* fallback) {
  if (const auto found = status.GetPayload(to_absl(url))) {
    return clean(shortened(std::string(*found), kPayloadBytesMax));
  }
  return fallback == nullptr ? Json(nullptr) : Json(fallback);
}

absl::Status attach(std::string_view url, std::string_view value, absl::Status status) {
  if (!status.ok() && !status.GetPayload(to_absl(url))) {
    status.SetPayload(to_absl(url), absl::Cord(to_absl(value)));
  }
  return status;
}

std::string error_object(std::string_view message, const char* type, Json param, Json code) {
  Json error;
  error["message"] = clean(message);
  error["type"] = type;
  error["param"] = std::move(param);
  error["code"] = std::move(code);
  Json object;
  object["error"] = std::move(error);
  return json_text(object);
}

const char* code_of_http(int http_status) {
  switch (http_status) {
    case 401:
      return "invalid_api_key";
    case 403:
      return "forbidden";
    case 404:
      return "not_found";
    case 405:
      return "method_not_allowed";
    case 408:
      return "request_timeout";
    case 413:
      return "request_too_large";
    case 415:
      return "unsupported_media_type";
    case 417:
      return "expectation_failed";
    case 431:
      return "header_too_large";
    case 503:
      return "service_unavailable";
    default:
      return "bad_request";
  }
}

}  // namespace

absl::Status at_field(std::string_view param, absl::Status status) {
  return attach(kParamUrl, param, std::move(status));
}

absl::Status with_code(std::string_view code, absl::Status status) {
  return attach(kCodeUrl, code, std::move(status));
}

absl::Status with_retry_after(int64_t seconds, absl::Status status) {
  return attach(kRetryAfterUrl, fmt::format("{}", seconds), std::move(status));
}

std::string error_json(const absl::Status& status) {
  const Kind& kind = kind_of(status.code());
  const bool internal = kind.http_status == kInternalKind.http_status;
  return error_object(internal ? "The server failed to answer this request." : message_of(status),
                      kind.type, payload(status, kParamUrl, nullptr),
                      payload(status, kCodeUrl, kind.api_code));
}

HttpResponse error_response(const absl::Status& status) {
  HttpResponse response;
  response.status = kind_of(status.code()).http_status;
  response.body = error_json(status);
  const bool later = response.status == 429 || response.status == 503;
  if (later) {
    const auto seconds = status.GetPayload(to_absl(kRetryAfterUrl));
    response.headers.emplace_back("Retry-After", seconds ? std::string(*seconds) : "1");
  }
  return response;
}

HttpResponse http_error(int http_status, std::string_view message) {
  HttpResponse response;
  response.status = http_status;
  const char* type = http_status >= 500 ? "server_error" : "invalid_request_error";
  response.body = error_object(message, type, nullptr, code_of_http(http_status));
  if (http_status == 503) response.headers.emplace_back("Retry-After", "1");
  return response;
}

}  // namespace millrace
