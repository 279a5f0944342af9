#pragma once

#include <string_view>

namespace millrace {

// The classes of characters that BERT's fast tokenizers go by: the `tokenizers` package's tables
// are those of Unicode 8, and what came later is in none of them.
bool is_bert_control(char32_t code);  // tabs and line ends are not
bool is_bert_nonspacing(char32_t code);
// One punctuation character, or one of ASCII's symbols.
extern const std::string_view kBertPunctuation;

}  // namespace millrace
