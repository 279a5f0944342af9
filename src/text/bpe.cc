#include "text/bpe.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include <absl/memory/memory.h>

#include "text/unicode.h"

namespace millrace {
namespace {

// The alphabet of Radford et al., "Language models are unsupervised multitask learners", 2019
// (their encoder's bytes_to_unicode): printable Latin-1 bytes stand for themselves, the others for
// U+0100 and on.
constexpr bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
}

constexpr std::array<char32_t, 256> kAlphabet = [] {
  std::array<char32_t, 256> alphabet{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    alphabet[static_cast<size_t>(byte)] =
        stands_for_itself(byte) ? static_cast<char32_t>(byte) : next++;
  }
  return alphabet;
}();

constexpr size_t kAlphabetEnd = 0x144;

constexpr std::array<int16_t, kAlphabetEnd> kBytes = [] {
  std::array<int16_t, kAlphabetEnd> bytes{};
  bytes.fill(-1);
  for (size_t byte = 0; byte < 256; ++byte) bytes[kAlphabet[byte]] = static_cast<int16_t>(byte);
  return bytes;
}();

std::string spelled(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) append_utf8(kAlphabet[static_cast<uint8_t>(byte)], text);
  return text;
}

// The bytes that `text` spells; text that is not in the alphabet stands for itself.
std::string unspelled(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = decode_utf8(text.substr(i));
    if (!c.valid || c.code >= kAlphabetEnd || kBytes[c.code] < 0) return std::string(text);
    bytes.push_back(static_cast<char>(kBytes[c.code]));
    i += c.length;
  }
  return bytes;
}

std::vector<std::string> pieces_of(const Vocab& vocab) {
  std::vector<std::string> pieces;
  pieces.reserve(static_cast<size_t>(vocab.size()));
  for (TokenId id = 0; id < vocab.size(); ++id) {
    const TokenKind kind = vocab.kind(id);
    const bool verbatim = kind == TokenKind::kControl || kind == TokenKind::kUnknown ||
                          kind == TokenKind::kUserDefined;
    pieces.push_back(verbatim ? std::string(vocab.text(id)) : unspelled(vocab.text(id)));
  }
  return pieces;
}

// Text never becomes one of these by being merged.
bool is_control(const Vocab& vocab, TokenId id) {
  return vocab.kind(id) == TokenKind::kControl || vocab.kind(id) == TokenKind::kUnknown;
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> BpeTokenizer::create(Vocab vocab,
                                                                      const MergeList& merges,
                                                                      Rules rules) {
  const ByteTokens byte_tokens = byte_tokens_of(vocab);
  auto tokenizer =
      absl::WrapUnique(new BpeTokenizer(std::move(vocab), byte_tokens, std::move(rules)));
  RETURN_IF_ERROR(tokenizer->read_merges(merges));
  return std::unique_ptr<const Tokenizer>(std::move(tokenizer));
}

BpeTokenizer::ByteTokens BpeTokenizer::byte_tokens_of(const Vocab& vocab) {
  ByteTokens tokens;
  for (size_t byte = 0; byte < tokens.size(); ++byte) {
    const char c = static_cast<char>(byte);
    tokens[byte] = vocab.find(spelled({&c, 1})).value_or(Merges::kNoSymbol);
  }
  return tokens;
}

BpeTokenizer::BpeTokenizer(Vocab vocab, const ByteTokens& byte_tokens, Rules rules)
    : Tokenizer(std::move(vocab), pieces_of,
                {.any_bytes = std::ranges::count(byte_tokens, Merges::kNoSymbol) == 0}),
      rules_(std::move(rules)),
      byte_tokens_(byte_tokens),
      cache_(rules_.cached_words) {}

absl::Status BpeTokenizer::read_merges(const MergeList& merges) {
  merges_.reserve(merges.pairs.size());
  std::string joined;
  for (size_t i = 0; i < merges.pairs.size(); ++i) {
    const auto& [left, right] = merges.pairs[i];
    joined.assign(left).append(right);
    const auto left_id = vocab().find(left);
    const auto right_id = vocab().find(right);
    const auto joined_id = vocab().find(joined);
    if (!left_id || !right_id || !joined_id) {
      return invalid_argument("{}, index {}: the vocabulary lacks {}", merges.key, i,
                              !left_id    ? "the left token"
                              : !right_id ? "the right token"
                                          : "what they join to");
    }
    if (is_control(vocab(), *joined_id)) continue;
    merges_.add(*left_id, *right_id, static_cast<uint32_t>(i), *joined_id);
  }
  return absl::OkStatus();
}

void BpeTokenizer::encode_plain(std::string_view text, std::vector<TokenId>& tokens) const {
  while (!text.empty()) {
    const size_t valid = utf8_prefix(text);
    encode_text(text.substr(0, valid), tokens);
    text.remove_prefix(valid);
    if (text.empty()) return;
    const size_t invalid = decode_utf8(text).length;
    for (const char byte : text.substr(0, invalid)) {
      tokens.push_back(byte_tokens_[static_cast<uint8_t>(byte)]);
    }
    text.remove_prefix(invalid);
  }
}

void BpeTokenizer::encode_text(std::string_view text, std::vector<TokenId>& tokens) const {
  Merges::Word room;
  rules_.pretokenizer.split(text, [&](std::string_view word) {
    if (cache_.find(word, tokens)) return;
    const size_t before = tokens.size();
    encode_word(word, room, tokens);
    cache_.keep(word, std::span(tokens).subspan(before));
  });
}

void BpeTokenizer::encode_word(std::string_view word, Merges::Word& room,
                               std::vector<TokenId>& tokens) const {
  if (rules_.ignore_merges) {
    const auto whole = vocab().find(spelled(word));
    if (whole && vocab().kind(*whole) == TokenKind::kNormal) return tokens.push_back(*whole);
  }
  room.clear();
  for (const char byte : word) room.add(byte_tokens_[static_cast<uint8_t>(byte)]);
  merges_.apply(room);
  room.for_each([&tokens](int32_t symbol) {
    if (symbol != Merges::kNoSymbol) tokens.push_back(symbol);
  });
}

}  // namespace millrace
