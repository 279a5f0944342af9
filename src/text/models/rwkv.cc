#include "text/models/rwkv.h"

#include <charconv>
#include <optional>
#include <utility>

#include <absl/memory/memory.h>

#include "base/check.h"

namespace millrace {
namespace {

std::optional<char> byte_of_hex(std::string_view digits) {
  unsigned byte = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stopped, error] = std::from_chars(digits.data(), end, byte, 16);
  if (digits.size() != 2 || error != std::errc() || stopped != end) return std::nullopt;
  return static_cast<char>(byte);
}

// The byte that an escape spells, and how long the escape is without its backslash.
struct Escape {
  char byte;
  size_t length;
};

std::optional<Escape> read_escape(std::string_view after) {
  if (after.empty()) return std::nullopt;
  switch (after[0]) {
    case 't':
      return Escape{'\t', 1};
    case 'n':
      return Escape{'\n', 1};
    case 'r':
      return Escape{'\r', 1};
    case '\\':
    case '\'':
    case '"':
      return Escape{after[0], 1};
    case 'x': {
      const auto byte = byte_of_hex(after.substr(1, 2));
      if (!byte) return std::nullopt;
      return Escape{*byte, 3};
    }
    default:
      return std::nullopt;
  }
}

// What is between the quotes of Python's repr of some bytes. Nothing: it is not that.
std::optional<std::string> unescaped(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      bytes += text[i];
      continue;
    }
    const auto escape = read_escape(text.substr(i + 1));
    if (!escape) return std::nullopt;
    bytes += escape->byte;
    i += escape->length;
  }
  return bytes;
}

bool is_text(const Vocab& vocab, TokenId id) {
  return vocab.kind(id) == TokenKind::kNormal || vocab.kind(id) == TokenKind::kByte;
}

std::string rwkv_piece(const Vocab& vocab, TokenId id) {
  const std::string_view text = vocab.text(id);
  return is_text(vocab, id) ? *unescaped(text) : std::string(text);
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> RwkvTokenizer::create(Vocab vocab) {
  for (TokenId id = 0; id < vocab.size(); ++id) {
    if (!is_text(vocab, id) || unescaped(vocab.text(id))) continue;
    return invalid_argument(
        "metadata key 'tokenizer.ggml.tokens', index {}: a backslash that begins no escape of "
        "Python's bytes",
        id);
  }
  return absl::WrapUnique<const Tokenizer>(new RwkvTokenizer(std::move(vocab)));
}

RwkvTokenizer::RwkvTokenizer(Vocab vocab)
    : Tokenizer(std::move(vocab), rwkv_piece, {.any_bytes = true}) {
  std::vector<Trie::Entry> entries;
  for (TokenId id = 0; id < this->vocab().size(); ++id) {
    if (is_text(this->vocab(), id)) entries.push_back({piece(id), id});
  }
  trie_ = Trie(std::move(entries));
}

void RwkvTokenizer::encode_plain(const Plain& plain, std::vector<TokenId>& tokens) const {
  std::string_view text = plain.marked.text;
  while (!text.empty()) {
    const Trie::Prefix longest = trie_.longest(text);
    if (longest.bytes > 0) {
      tokens.push_back(longest.value);
    } else if (vocab().unknown()) {
      tokens.push_back(*vocab().unknown());
    }
    text.remove_prefix(std::max<size_t>(longest.bytes, 1));
  }
}

std::unique_ptr<const Tokenizer> byte_tokenizer() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(fmt::format("\\x{:02x}", byte));
  Metadata metadata;
  metadata.set_strings("tokenizer.ggml.tokens", tokens);
  auto vocab = Vocab::from(metadata);
  CHECK(vocab.ok(), "the bytes are no vocabulary");
  auto made = RwkvTokenizer::create(*std::move(vocab));
  CHECK(made.ok(), "the bytes are no tokenizer");
  return *std::move(made);
}

}  // namespace millrace
