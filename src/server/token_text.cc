#include "server/token_text.h"

#include <algorithm>

#include "text/stream.h"
#include "text/unicode.h"

namespace millrace {

std::string text_of(const Tokenizer& tokenizer, TokenId token) {
  TextStream stream(tokenizer, {.stops = {}, .skip_special = false});
  std::string text = stream.push(token);
  return text + stream.finish();
}

int64_t token_bytes_max(const Tokenizer& tokenizer) {
  const Vocab& vocab = tokenizer.vocab();
  int64_t longest = 0;
  bool has_bytes = false;
  for (TokenId id = 0; id < vocab.size(); ++id) {
    longest = std::max(longest, std::ssize(tokenizer.piece(id)));
    has_bytes = has_bytes || vocab.kind(id) == TokenKind::kByte;
  }
  return vocab.unknown() && !has_bytes ? 0 : longest;
}

Json bytes_json(std::string_view bytes) {
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return list;
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
