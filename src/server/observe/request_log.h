#pragma once

#include <span>
#include <string_view>

#include "server/http/request_record.h"
#include "text/tokenizer.h"

namespace millrace {

// One line for each request.
void log_request(const RequestRecord& record);

// The names of unknown fields, shortened, to debug a client by.
void log_unknown(std::string_view id, std::span<const std::string_view> names);

// A prompt's text, shortened, where the server was told to log it.
void log_prompt(std::string_view id, std::span<const TokenId> tokens, const Tokenizer& tokenizer);

}  // namespace millrace
