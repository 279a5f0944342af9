#include "text/models/bpe_model.h"

#include <algorithm>
#include <utility>

#include <absl/memory/memory.h>

#include "text/unicode/byte_alphabet.h"
#include "text/unicode/unicode.h"

namespace millrace {

absl::StatusOr<std::unique_ptr<const WordModel>> BpeModel::create(VocabPtr vocab,
                                                                  const MergeList& merges,
                                                                  Rules rules) {
  auto model = absl::WrapUnique(new BpeModel(std::move(vocab), std::move(rules)));
  RETURN_IF_ERROR(model->read_merges(merges));
  return std::unique_ptr<const WordModel>(std::move(model));
}

BpeModel::BpeModel(VocabPtr vocab, Rules rules)
    : vocab_(std::move(vocab)), rules_(std::move(rules)) {
  for (size_t byte = 0; byte < of_bytes_.size(); ++byte) {
    const char c = static_cast<char>(byte);
    of_bytes_[byte] = find(spelled({&c, 1}));
  }
}

absl::Status BpeModel::read_merges(const MergeList& merges) {
  const auto find = [this](std::string_view text, TokenId likely) {
    const bool is_likely = vocab_->contains(likely) && vocab_->text(likely) == text;
    return if_listed(is_likely ? likely : vocab_->find(text));
  };
  const auto expect = [this](std::string_view text) { vocab_->expect(text); };
  return merges_.read(merges, rules_.prefix, find, expect,
                      [this](TokenId id) { return is_text(id); });
}

bool BpeModel::is_text(TokenId id) const {
  return vocab_->kind(id) != TokenKind::kControl && vocab_->kind(id) != TokenKind::kUnknown;
}

std::optional<TokenId> BpeModel::if_listed(std::optional<TokenId> id) const {
  const bool listed = id && (rules_.listed.empty() || rules_.listed[static_cast<size_t>(*id)]);
  return listed ? id : std::nullopt;
}

std::optional<TokenId> BpeModel::find(std::string_view text) const {
  const auto id = if_listed(vocab_->find(text));
  return id && is_text(*id) ? id : std::nullopt;
}

bool BpeModel::is_plain_bytes() const {
  return rules_.byte_level && rules_.prefix.empty() && rules_.suffix.empty() && !rules_.unknown;
}

bool BpeModel::reads_any_byte() const {
  return is_plain_bytes() &&
         std::ranges::all_of(of_bytes_, [](const auto& id) { return id.has_value(); });
}

void BpeModel::encode_word(std::string_view word, Room& room, std::vector<TokenId>& tokens) const {
  if (rules_.ignore_merges) {
    const auto whole = rules_.byte_level ? find(spelled(word)) : find(word);
    if (whole) return tokens.push_back(*whole);
  }
  Merges::Word& symbols = room.symbols;
  symbols.clear();
  if (is_plain_bytes()) {
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
