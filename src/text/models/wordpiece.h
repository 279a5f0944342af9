#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/models/word_model.h"
#include "text/trie.h"

namespace millrace {

// WordPiece as BERT reads it (Devlin et al., 2019): from the left the longest piece that fits, one
// kind at the beginning of a word and another after it. A word that does not come out even, or is
// too long, is one unknown token.
class WordPiece final : public WordModel {
 public:
  static constexpr int64_t kCharactersMax = 100;  // of a word: BERT's own

  // Values are token ids.
  WordPiece(std::vector<Trie::Entry> beginnings, std::vector<Trie::Entry> continuations,
            std::optional<TokenId> unknown, int64_t characters_max = kCharactersMax);

  void encode_word(std::string_view word, Room& room, std::vector<TokenId>& tokens) const override;

 private:
  bool append_pieces(std::string_view word, std::vector<TokenId>& tokens) const;

  Trie beginnings_;
  Trie continuations_;
  std::optional<TokenId> unknown_;
  int64_t characters_max_;
};

}  // namespace millrace
