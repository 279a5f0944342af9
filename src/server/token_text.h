#pragma once

#include <string>
#include <string_view>

#include "server/json_text.h"
#include "text/tokenizer.h"

namespace millrace {

// A token alone, as text: U+FFFD where it is part of a character.
std::string text_of(const Tokenizer& tokenizer, TokenId token);
// Bytes as a list of numbers.
Json bytes_json(std::string_view bytes);

}  // namespace millrace
