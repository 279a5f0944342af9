#pragma once

#include <span>
#include <string_view>

#include "server/observe/request_record.h"
#include "server/request/prompts.h"

namespace millrace {

// One line for each request.
void log_request(const RequestRecord& record);

// The names of fields that nobody defines, shortened, for whoever debugs a client.
void log_unknown(std::string_view id, std::span<const std::string_view> names);

// What a request's prompts say, for a server that was told to log it: a line each, shortened.
void log_prompts(std::string_view id, std::span<const Prompt> prompts, const Tokenizer& tokenizer);

}  // namespace millrace
