#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <absl/status/status.h>

#include "server/http/http_message.h"

namespace millrace {

// The status with the request field at fault ("messages[0].role") attached. An inner field that is
// already there is kept.
absl::Status at_field(std::string_view param, absl::Status status);
// The status with OpenAI's machine-readable code ("context_length_exceeded") attached.
absl::Status with_code(std::string_view code, absl::Status status);
// The status with the whole seconds after which another try may succeed.
absl::Status with_retry_after(int64_t seconds, absl::Status status);

// An error as a response: OpenAI's four keys, the HTTP status by the status's code.
HttpResponse error_response(const absl::Status& status);
// Its body alone, for an event of a stream.
std::string error_json(const absl::Status& status);

// Errors of HTTP itself (405, 408, 413, 431, ...).
HttpResponse http_error(int http_status, std::string_view message);

}  // namespace millrace
