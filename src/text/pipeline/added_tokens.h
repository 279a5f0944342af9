#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "text/marked_text.h"
#include "text/pipeline/special.h"
#include "text/trie.h"

namespace millrace {

// A token that is taken out of a text before the rest is cut into words; as the `tokenizers`
// package has them.
struct AddedToken {
  std::string text;
  TokenId id = -1;
  bool special = false;      // looked for only where special tokens are wanted
  bool single_word = false;  // not with a character of a word beside it
  bool lstrip = false;       // takes the spaces before it
  bool rstrip = false;       // and after it
};

// Finds added tokens: the leftmost, and of those the longest. Immutable.
class AddedTokens {
 public:
  using Found = SpecialSearch::Found;

  AddedTokens() = default;
  // Of tokens with the same text the first counts.
  explicit AddedTokens(std::vector<AddedToken> tokens);

  // In order. Special tokens are taken where `special` is set, and never from written bytes.
  std::vector<Found> find(const MarkedView& marked, bool special) const;

 private:
  struct Match {
    size_t end = 0;
    const AddedToken* token = nullptr;  // null: none
  };
  Match longest(std::string_view text, size_t begin, size_t special_bytes_max) const;
  bool stands_alone(std::string_view text, size_t begin, size_t end) const;

  std::vector<AddedToken> tokens_;
  Trie trie_;  // values are places in tokens_
  std::array<bool, 256> first_bytes_{};
};

}  // namespace millrace
