#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace millrace {

// A token alone, as text: U+FFFD where it is part of a character.
std::string text_of(const Tokenizer& tokenizer, TokenId token);
// How long a text a token stands for at most, in bytes, but for an unknown one, which may stand for
// any.
int64_t token_bytes_max(const Tokenizer& tokenizer);
// Bytes as a JSON list of numbers.
std::string bytes_text(std::string_view bytes);

// Where in a text, in characters, the text of each of its tokens starts: that of a token which goes
// on with a character, where the character does.
class TextOffsets {
 public:
  TextOffsets(const Tokenizer& tokenizer, bool skip_special)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}

  int64_t next(TokenId token);

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::string bytes_;  // the beginning of a character
  int64_t characters_ = 0;
};

}  // namespace millrace
