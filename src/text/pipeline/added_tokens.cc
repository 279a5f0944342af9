#include "text/pipeline/added_tokens.h"

#include <algorithm>
#include <utility>

#include "text/unicode/unicode.h"

namespace millrace {
namespace {

Trie trie_of(const std::vector<AddedToken>& tokens) {
  std::vector<Trie::Entry> entries;
  entries.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    entries.push_back({tokens[i].text, static_cast<int32_t>(i)});
  }
  return Trie(std::move(entries));
}

bool is_only_space(char32_t code) { return char_class(code) == kSpaceChar; }

size_t character_before(std::string_view text, size_t at) {
  do --at;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80);
  return at;
}

// Where the spaces that end at `end` begin, no earlier than `from`.
size_t stripped_begin(std::string_view text, size_t from, size_t end) {
  while (end > from) {
    const size_t begin = character_before(text, end);
    if (!is_only_space(decode_utf8(text.substr(begin)).code)) break;
    end = begin;
  }
  return end;
}

size_t stripped_end(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    const Utf8Char c = decode_utf8(text.substr(begin));
    if (!is_only_space(c.code)) break;
    begin += c.length;
  }
  return begin;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), trie_(trie_of(tokens_)) {
  for (const AddedToken& token : tokens_) {
    if (!token.text.empty()) first_bytes_[static_cast<uint8_t>(token.text.front())] = true;
  }
}

AddedTokens::Match AddedTokens::longest(std::string_view text, size_t begin,
                                        size_t special_bytes_max) const {
  Match found;
  Trie::Node node = Trie::kRoot;
  for (size_t i = begin; i < text.size(); ++i) {
    node = trie_.next(node, text[i]);
    if (node == Trie::kNone) break;
    if (trie_.value(node) == Trie::kNone) continue;
    const AddedToken& token = tokens_[static_cast<size_t>(trie_.value(node))];
    if (!token.special || i + 1 - begin <= special_bytes_max) found = {i + 1, &token};
  }
  return found;
}

bool AddedTokens::stands_alone(std::string_view text, size_t begin, size_t end) const {
  const auto is_word = [text](size_t at) {
    return is_word_char(decode_utf8(text.substr(at)).code);
  };
  return !(begin > 0 && is_word(character_before(text, begin))) &&
         !(end < text.size() && is_word(end));
}

std::vector<AddedTokens::Found> AddedTokens::find(const MarkedView& marked, bool special) const {
  std::vector<Found> found;
  if (tokens_.empty()) return found;
  const std::string_view text = marked.text;
  size_t taken = 0;
  for (size_t i = 0; i < text.size();) {
    if (!first_bytes_[static_cast<uint8_t>(text[i])]) {
      ++i;
      continue;
    }
    const Match match = longest(text, i, marked.unwritten_from(i));
    if (match.token == nullptr) {
      ++i;
      continue;
    }
    const auto& [token_text, id, is_special, single_word, lstrip, rstrip] = *match.token;
    size_t begin = std::exchange(i, match.end);
    // One that is found and not wanted still hides those inside it.
    if (is_special && !special) continue;
    if (single_word && !stands_alone(text, begin, match.end)) continue;
    if (lstrip) begin = std::max(taken, stripped_begin(text, std::min(taken, begin), begin));
    taken = rstrip ? stripped_end(text, match.end) : match.end;
    found.push_back({begin, taken, id});
  }
  return found;
}

}  // namespace millrace
