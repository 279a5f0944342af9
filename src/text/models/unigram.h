#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/byte_tokens.h"
#include "text/models/word_model.h"
#include "text/trie.h"

namespace millrace {

// SentencePiece unigram: of all ways to cut a text into pieces the one whose scores (logarithms of
// probabilities) add up to most, found by Viterbi's algorithm (Kudo, "Subword regularization", ACL
// 2018, section 3.1). A character that is no piece is unknown, ten below the lowest score; a run of
// unknown ones becomes byte tokens, or else one unknown token.
class Unigram final : public WordModel {
 public:
  struct Piece {
    std::string_view text;  // UTF-8
    TokenId id;
    double score;
  };
  // `lowest` is the lowest score of the vocabulary. Without an unknown token characters that are
  // unknown are left out.
  Unigram(std::span<const Piece> pieces, double lowest, std::optional<TokenId> unknown,
          ByteTokens bytes);

  void encode_word(std::string_view word, Room& room, std::vector<TokenId>& tokens) const override;

 private:
  // The best way to reach a place in a text, and the piece it ends with.
  struct Step {
    double score = 0;
    size_t begin = 0;
    TokenId id = kUnreached;
  };
  static constexpr TokenId kUnreached = -2;
  static constexpr TokenId kUnknown = -1;

  std::vector<Step> best_steps(std::string_view text) const;
  void append_unknown(std::string_view text, std::vector<TokenId>& tokens) const;

  std::vector<Piece> pieces_;  // without their texts; what the trie's values are indices of
  Trie trie_;
  double unknown_score_;
  std::optional<TokenId> unknown_;
  ByteTokens bytes_;
};

}  // namespace millrace
