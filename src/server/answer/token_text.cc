#include "server/answer/token_text.h"

#include <algorithm>

#include <fmt/format.h>

#include "text/unicode/unicode.h"

namespace millrace {

std::string text_of(const Tokenizer& tokenizer, TokenId token) {
  std::string text;
  append_replaced(tokenizer.piece(token), text);
  return text;
}

int64_t token_bytes_max(const Tokenizer& tokenizer) {
  int64_t longest = 1;
  for (TokenId id = 0; id < tokenizer.vocab().size(); ++id) {
    longest = std::max(longest, std::ssize(tokenizer.piece(id)));
  }
  return longest;
}

std::string bytes_text(std::string_view bytes) {
  std::string list = "[";
  for (const char c : bytes) {
    if (list.size() > 1) list += ',';
    fmt::format_to(std::back_inserter(list), "{}", static_cast<unsigned char>(c));
  }
  return list + ']';
}

int64_t TextOffsets::next(TokenId token) {
  const size_t begin = bytes_.size();
  int64_t offset = characters_;
  if (!skip_special_ || !tokenizer_.is_special(token)) bytes_ += tokenizer_.piece(token);
  size_t whole = 0;
  while (whole < bytes_.size()) {
    const Utf8Char c = decode_utf8(std::string_view(bytes_).substr(whole));
    if (c.cut) break;
    whole += c.length;
    ++characters_;
    if (whole <= begin) offset = characters_;
  }
  bytes_.erase(0, whole);
  return offset;
}

}  // namespace millrace
