#include "text/models/unigram.h"

#include <algorithm>

#include "text/unicode/unicode.h"

namespace millrace {
namespace {

// SentencePiece's kUnkPenalty.
constexpr double kUnknownPenalty = 10;

Trie trie_of_pieces(std::span<const Unigram::Piece> pieces) {
  std::vector<Trie::Entry> entries;
  entries.reserve(pieces.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    entries.push_back({pieces[i].text, static_cast<int32_t>(i)});
  }
  return Trie(std::move(entries));
}

}  // namespace

Unigram::Unigram(std::span<const Piece> pieces, double lowest, std::optional<TokenId> unknown,
                 ByteTokens bytes)
    : pieces_(pieces.begin(), pieces.end()),
      trie_(trie_of_pieces(pieces)),
      unknown_score_(lowest - kUnknownPenalty),
      unknown_(unknown),
      bytes_(bytes) {
  for (Piece& piece : pieces_) piece.text = {};
}

std::vector<Unigram::Step> Unigram::best_steps(std::string_view text) const {
  std::vector<Step> steps(text.size() + 1);
  for (size_t begin = 0; begin < text.size();) {
    const size_t next = begin + decode_utf8(text.substr(begin)).length;
    const double score = steps[begin].score;
    const auto offer = [&](size_t end, TokenId id, double piece_score) {
      Step& step = steps[end];
      if (step.id != kUnreached && score + piece_score <= step.score) return;
      step = {score + piece_score, begin, id};
    };
    bool whole_character = false;
    Trie::Node node = Trie::kRoot;
    for (size_t end = begin; end < text.size();) {
      node = trie_.next(node, text[end++]);
      if (node == Trie::kNone) break;
      if (trie_.value(node) == Trie::kNone) continue;
      const Piece& piece = pieces_[static_cast<size_t>(trie_.value(node))];
      offer(end, piece.id, piece.score);
      whole_character |= end == next;
    }
    if (!whole_character) offer(next, kUnknown, unknown_score_);
    begin = next;
  }
  return steps;
}

void Unigram::encode_word(std::string_view word, Room& /*room*/,
                          std::vector<TokenId>& tokens) const {
  const std::vector<Step> steps = best_steps(word);
  std::vector<size_t> ends;
  for (size_t end = word.size(); end > 0; end = steps[end].begin) ends.push_back(end);
  size_t begin = 0;
  std::ranges::reverse(ends);
  for (size_t i = 0; i < ends.size(); ++i) {
    const TokenId id = steps[ends[i]].id;
    const bool goes_on = i + 1 < ends.size() && steps[ends[i + 1]].id == kUnknown;
    if (id == kUnknown && goes_on) continue;
    if (id == kUnknown) {
      append_unknown(word.substr(begin, ends[i] - begin), tokens);
    } else {
      tokens.push_back(id);
    }
    begin = ends[i];
  }
}

void Unigram::append_unknown(std::string_view text, std::vector<TokenId>& tokens) const {
  // Scores above zero can make two unknown characters better than the piece they are.
  if (const auto piece = trie_.find(text)) {
    tokens.push_back(pieces_[static_cast<size_t>(*piece)].id);
  } else if (!bytes_.append(text, tokens) && unknown_) {
    tokens.push_back(*unknown_);
  }
}

}  // namespace millrace
