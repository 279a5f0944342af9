#include "text/bpe_model.h"

#include <utility>

#include <absl/memory/memory.h>

#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace millrace {
namespace {

Trie trie_of(std::span<const BpeModel::Token> tokens) {
  std::vector<Trie::Entry> entries;
  entries.reserve(tokens.size());
  for (const BpeModel::Token& token : tokens) entries.push_back({token.text, token.id});
  return Trie(std::move(entries));
}

}  // namespace

absl::StatusOr<std::unique_ptr<const WordModel>> BpeModel::create(std::span<const Token> tokens,
                                                                  const MergeList& merges,
                                                                  Rules rules) {
  auto model = absl::WrapUnique(new BpeModel(tokens, std::move(rules)));
  RETURN_IF_ERROR(model->read_merges(merges));
  return std::unique_ptr<const WordModel>(std::move(model));
}

BpeModel::BpeModel(std::span<const Token> tokens, Rules rules)
    : rules_(std::move(rules)), ids_(trie_of(tokens)) {
  for (const Token& token : tokens) {
    if (token.is_control) control_.insert(token.id);
  }
  for (size_t byte = 0; byte < of_bytes_.size(); ++byte) {
    const char c = static_cast<char>(byte);
    of_bytes_[byte] = find(spelled({&c, 1}));
  }
}

absl::Status BpeModel::read_merges(const MergeList& merges) {
  merges_.reserve(merges.pairs.size());
  std::string joined;
  for (size_t i = 0; i < merges.pairs.size(); ++i) {
    const auto& [left, right] = merges.pairs[i];
    const std::string_view rest =
        right.starts_with(rules_.prefix) ? right.substr(rules_.prefix.size()) : right;
    joined.assign(left).append(rest);
    const auto left_id = ids_.find(left);
    const auto right_id = ids_.find(right);
    const auto joined_id = ids_.find(joined);
    if (!left_id || !right_id || !joined_id) {
      return invalid_argument("{}[{}]: the vocabulary lacks {}", merges.key, i,
                              !left_id    ? "the left token"
                              : !right_id ? "the right token"
                                          : "what they join to");
    }
    if (control_.contains(*joined_id)) continue;
    merges_.add(*left_id, *right_id, static_cast<uint32_t>(i), *joined_id);
  }
  return absl::OkStatus();
}

std::optional<TokenId> BpeModel::find(std::string_view text) const {
  const auto id = ids_.find(text);
  return id && !control_.contains(*id) ? id : std::nullopt;
}

void BpeModel::encode_word(std::string_view word, std::vector<TokenId>& tokens) const {
  if (rules_.ignore_merges) {
    const auto whole = rules_.byte_level ? find(spelled(word)) : find(word);
    if (whole) return tokens.push_back(*whole);
  }
  Merges::Word symbols;
  const bool plain_bytes =
      rules_.byte_level && rules_.prefix.empty() && rules_.suffix.empty() && !rules_.unknown;
  if (plain_bytes) {
    add_bytes(word, symbols);
  } else {
    add_characters(rules_.byte_level ? spelled(word) : word, symbols);
  }
  merges_.apply(symbols);
  symbols.for_each([&tokens](int32_t symbol) { tokens.push_back(symbol); });
}

void BpeModel::add_bytes(std::string_view word, Merges::Word& symbols) const {
  for (const char byte : word) {
    if (const auto id = of_bytes_[static_cast<uint8_t>(byte)]) symbols.add(*id);
  }
}

void BpeModel::add_characters(std::string_view word, Merges::Word& symbols) const {
  bool unknown_waits = false;
  std::string text;
  std::vector<TokenId> bytes;
  for (size_t i = 0; i < word.size();) {
    const size_t next = i + decode_utf8(word.substr(i)).length;
    text = i > 0 ? rules_.prefix : "";
    text += word.substr(i, next - i);
    if (next == word.size()) text += rules_.suffix;
    i = next;
    if (const auto id = find(text)) {
      if (std::exchange(unknown_waits, false)) symbols.add(*rules_.unknown);
      symbols.add(*id);
      continue;
    }
    bytes.clear();
    if (rules_.bytes.append(text, bytes)) {
      for (const TokenId id : bytes) symbols.add(id);
      continue;
    }
    if (!rules_.unknown) continue;
    if (unknown_waits && !rules_.fuse_unknown) symbols.add(*rules_.unknown);
    unknown_waits = true;
  }
  if (unknown_waits) symbols.add(*rules_.unknown);
}

}  // namespace millrace
