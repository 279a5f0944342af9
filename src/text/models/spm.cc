#include "text/models/spm.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <optional>
#include <utility>

#include <absl/memory/memory.h>

#include "text/byte_tokens.h"
#include "text/unicode/unicode.h"

namespace millrace {
namespace {

constexpr char32_t kSpaceCode = 0x2581;
// A character that is no token is this less its code point while words are merged.
constexpr int32_t kFirstCharacter = -2;
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

std::string with_spaces(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t mark = std::min(text.find(kSpaceMark, at), text.size());
    out.append(text.substr(at, mark - at));
    if (mark < text.size()) out.push_back(' ');
    at = mark + kSpaceMark.size();
  }
  return out;
}

std::string without_extra_spaces(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out.push_back(c);
  }
  if (out.ends_with(' ')) out.pop_back();
  return out;
}

std::string spm_piece(const Vocab& vocab, TokenId id) {
  const std::string_view text = vocab.text(id);
  switch (vocab.kind(id)) {
    case TokenKind::kControl:
    case TokenKind::kUnknown:
    case TokenKind::kUserDefined:
      return std::string(text);
    case TokenKind::kByte:
      return std::string(1, static_cast<char>(ByteTokens::byte_of(text)));
    case TokenKind::kNormal:
    case TokenKind::kUnused:
      break;
  }
  return with_spaces(text);
}

// Higher scores come first, and equal ones are equal: the bits of a float, made to rise with it.
uint32_t order_of(float score) {
  const auto bits = std::bit_cast<uint32_t>(score + 0.0F);  // -0 becomes 0
  const uint32_t rising = (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
  return Merges::kOrderMax - rising;
}

absl::Status check_byte_tokens(const Vocab& vocab) {
  for (TokenId id = 0; id < vocab.size(); ++id) {
    if (vocab.kind(id) == TokenKind::kByte && ByteTokens::byte_of(vocab.text(id)) < 0) {
      return invalid_argument(
          "metadata key 'tokenizer.ggml.tokens', index {}: a byte token that is not spelled <0xNN>",
          id);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> SpmTokenizer::create(Vocab vocab,
                                                                      const MergeList* merges,
                                                                      Rules rules) {
  RETURN_IF_ERROR(check_byte_tokens(vocab));
  auto tokenizer = absl::WrapUnique(new SpmTokenizer(std::move(vocab), rules));
  RETURN_IF_ERROR(tokenizer->check_bytes());
  if (merges == nullptr) {
    tokenizer->read_joins();
  } else {
    RETURN_IF_ERROR(tokenizer->read_merges(*merges));
  }
  return std::unique_ptr<const Tokenizer>(std::move(tokenizer));
}

SpmTokenizer::SpmTokenizer(Vocab vocab, Rules rules)
    : Tokenizer(std::move(vocab), spm_piece,
                {.adds_space = rules.adds_space, .removes_spaces = rules.removes_spaces}),
      rules_(rules),
      cache_(WordCache::words_for(this->vocab().size())) {
  for (size_t byte = 0; byte < 256; ++byte) {
    byte_tokens_[byte] = this->vocab().find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  }
  read_characters();
}

absl::Status SpmTokenizer::check_bytes() const {
  const auto missing = std::ranges::find(byte_tokens_, -1);
  if (vocab().unknown() || missing == byte_tokens_.end()) return absl::OkStatus();
  return invalid_argument(
      "metadata key 'tokenizer.ggml.tokens' has no <0x{:02X}>, and there is no unknown_token_id",
      missing - byte_tokens_.begin());
}

bool SpmTokenizer::is_text(TokenId id) const {
  return vocab().kind(id) != TokenKind::kControl && vocab().kind(id) != TokenKind::kUnknown;
}

void SpmTokenizer::read_characters() {
  for (TokenId id = 0; id < vocab().size(); ++id) {
    const std::string_view text = vocab().text(id);
    if (text.empty() || !is_text(id)) continue;
    const Utf8Char c = decode_utf8(text);
    if (c.valid && c.length == text.size()) characters_.emplace(c.code, id);
  }
}

void SpmTokenizer::read_joins() {
  for (TokenId id = 0; id < vocab().size(); ++id) {
    // Encoded text is UTF-8, so other tokens are never met.
    if (is_text(id) && is_utf8(vocab().text(id))) read_joins_of(id);
  }
}

void SpmTokenizer::read_joins_of(TokenId id) {
  const std::string_view text = vocab().text(id);
  note_spaces_in(text);
  for (size_t i = 0; i < text.size();) {
    i += decode_utf8(text.substr(i)).length;
    if (i == text.size()) break;
    const auto left = symbol_of(text.substr(0, i));
    const auto right = symbol_of(text.substr(i));
    if (left && right) merges_.add(*left, *right, order_of(vocab().score(id)), id);
  }
}

absl::Status SpmTokenizer::read_merges(const MergeList& merges) {
  const auto find = [this](std::string_view text, TokenId) { return vocab().find(text); };
  const auto expect = [this](std::string_view text) { vocab().expect(text); };
  return merges_.read(merges, "", find, expect, [this](TokenId joined) {
    note_spaces_in(vocab().text(joined));
    return is_text(joined);
  });
}

void SpmTokenizer::note_spaces_in(std::string_view token) {
  while (token.starts_with(kSpaceMark)) token.remove_prefix(kSpaceMark.size());
  if (token.find(kSpaceMark) != std::string_view::npos) words_stand_alone_ = false;
}

int32_t SpmTokenizer::symbol_of(char32_t code) const {
  const auto found = characters_.find(code);
  return found == characters_.end() ? kFirstCharacter - static_cast<int32_t>(code) : found->second;
}

// What a part of a token is while it is merged; nothing: neither a token nor one character.
std::optional<int32_t> SpmTokenizer::symbol_of(std::string_view part) const {
  const Utf8Char c = decode_utf8(part);
  if (c.length == part.size()) return symbol_of(c.code);
  const auto token = vocab().find(part);
  return token && is_text(*token) ? token : std::nullopt;
}

void SpmTokenizer::encode_plain(const Plain& plain, std::vector<TokenId>& tokens) const {
  std::string_view text = plain.marked.text;
  std::string normal;
  if (rules_.removes_spaces) text = normal = without_extra_spaces(text);
  Merges::Word room;
  std::string first;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = word_end(text, begin);
    std::string_view word = text.substr(begin, end - begin);
    if (begin == 0 && rules_.adds_space) word = first.assign(" ").append(word);
    begin = end;
    if (cache_.find(word, tokens)) continue;
    const size_t before = tokens.size();
    encode_word(word, room, tokens);
    cache_.keep(word, std::span(tokens).subspan(before));
  }
}

// A word is some spaces (or what stands for them) and what follows up to the next one.
size_t SpmTokenizer::word_end(std::string_view text, size_t begin) const {
  if (!words_stand_alone_) return text.size();
  bool word_began = false;
  for (size_t i = begin; i < text.size(); ++i) {
    const bool mark = text.substr(i).starts_with(kSpaceMark);
    if (mark || text[i] == ' ') {
      if (word_began) return i;
      if (mark) i += kSpaceMark.size() - 1;
    } else {
      word_began = true;
    }
  }
  return text.size();
}

void SpmTokenizer::encode_word(std::string_view word, Merges::Word& room,
                               std::vector<TokenId>& tokens) const {
  room.clear();
  for (size_t i = 0; i < word.size();) {
    const Utf8Char c = decode_utf8(word.substr(i));
    room.add(symbol_of(c.code == U' ' ? kSpaceCode : c.code));
    i += c.length;
  }
  merges_.apply(room);
  bool after_unknown = false;
  room.for_each([&](int32_t symbol) {
    if (symbol >= 0) {
      tokens.push_back(symbol);
      after_unknown = false;
    } else {
      after_unknown =
          append_bytes(static_cast<char32_t>(kFirstCharacter - symbol), after_unknown, tokens);
    }
  });
}

// A run of characters without bytes is one unknown token. True: the last one was one of those.
bool SpmTokenizer::append_bytes(char32_t code, bool after_unknown,
                                std::vector<TokenId>& tokens) const {
  std::string bytes;
  append_utf8(code, bytes);
  const auto token_of = [this](char byte) { return byte_tokens_[static_cast<uint8_t>(byte)]; };
  if (std::ranges::all_of(bytes, [&](char byte) { return token_of(byte) >= 0; })) {
    std::ranges::transform(bytes, std::back_inserter(tokens), token_of);
    return false;
  }
  if (!after_unknown) tokens.push_back(*vocab().unknown());
  return true;
}

}  // namespace millrace
