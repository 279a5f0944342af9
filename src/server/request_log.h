#pragma once

#include <span>
#include <string_view>

#include "server/prompts.h"
#include "server/request_record.h"

namespace millrace {

// One line for each request.
void log_request(const RequestRecord& record);

// What a request's prompts say, for a server that was told to log it: a line each, shortened.
void log_prompts(std::string_view id, std::span<const Prompt> prompts, const Tokenizer& tokenizer);

}  // namespace millrace
