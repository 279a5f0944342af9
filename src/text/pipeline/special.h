#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include "base/ids.h"
#include "text/marked_text.h"
#include "text/trie.h"
#include "text/vocab.h"

namespace millrace {

// Finds the tokens that are taken out of a text before it is cut into words: user-defined ones
// anywhere, control ones (and the unknown one) only where they are wanted. Of those that overlap
// the longest wins, then the leftmost. A token that strips takes the whitespace around it along.
class SpecialSearch {
 public:
  struct Found {
    size_t begin;
    size_t end;
    TokenId id;
  };

  explicit SpecialSearch(const Vocab& vocab);

  // Ascending and disjoint. Control tokens are looked for where `control` is set, and lie wholly
  // outside of what is written.
  std::vector<Found> find(const MarkedView& marked, bool control) const;

 private:
  struct Query {
    MarkedView marked;
    bool control;
  };

  bool is_control(TokenId id) const { return control_.contains(id); }
  // The longest token at `begin` of at most `bytes_max` bytes; of no bytes where there is none.
  Found longest(const Query& query, size_t begin, size_t bytes_max) const;
  std::vector<Found> choose(const Query& query, std::vector<Found> heap) const;
  void strip(std::string_view text, std::vector<Found>& found) const;

  Trie trie_;
  absl::flat_hash_set<TokenId> control_;
  absl::flat_hash_map<TokenId, TokenStrips> strips_;  // of those that do
};

}  // namespace millrace
