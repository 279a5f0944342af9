#include "text/models/wordpiece.h"

#include <algorithm>
#include <utility>

namespace millrace {

WordPiece::WordPiece(std::vector<Trie::Entry> beginnings, std::vector<Trie::Entry> continuations,
                     std::optional<TokenId> unknown, int64_t characters_max)
    : beginnings_(std::move(beginnings)),
      continuations_(std::move(continuations)),
      unknown_(unknown),
      characters_max_(characters_max) {}

void WordPiece::encode_word(std::string_view word, Room& /*room*/,
                            std::vector<TokenId>& tokens) const {
  const size_t before = tokens.size();
  if (append_pieces(word, tokens)) return;
  tokens.resize(before);
  if (unknown_) tokens.push_back(*unknown_);
}

bool WordPiece::append_pieces(std::string_view word, std::vector<TokenId>& tokens) const {
  const auto begins_character = [](char byte) {
    return (static_cast<uint8_t>(byte) & 0xC0) != 0x80;
  };
  if (std::ranges::count_if(word, begins_character) > characters_max_) return false;
  for (size_t begin = 0; begin < word.size();) {
    const Trie& pieces = begin == 0 ? beginnings_ : continuations_;
    const Trie::Prefix piece = pieces.longest(word.substr(begin));
    if (piece.bytes == 0) return false;
    tokens.push_back(piece.value);
    begin += piece.bytes;
  }
  return true;
}

}  // namespace millrace
