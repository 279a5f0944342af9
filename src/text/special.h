#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "base/ids.h"
#include "text/marked_text.h"
#include "text/vocab.h"

namespace millrace {

// Finds the tokens that are taken out of a text before it is cut into words: user-defined ones
// anywhere, control ones (and the unknown one) only where they are wanted. Of those that overlap
// the longest wins, then the leftmost.
class SpecialSearch {
 public:
  struct Found {
    size_t begin;
    size_t end;
    TokenId id;
  };

  explicit SpecialSearch(const Vocab& vocab);

  // Ascending and disjoint. Control tokens are looked for where `control` is set, and lie wholly
  // outside of `written` (ascending, disjoint).
  std::vector<Found> find(std::string_view text, std::span<const ByteRange> written,
                          bool control) const;

 private:
  struct Node {
    TokenId id = -1;  // of the token that ends here
    bool control = false;
  };
  struct Query {
    MarkedView marked;
    bool control;
  };

  void add(std::string_view text, TokenId id, bool control);
  // The longest token at `begin` of at most `bytes_max` bytes; of no bytes where there is none.
  Found longest(const Query& query, size_t begin, size_t bytes_max) const;

  std::vector<Node> nodes_;                        // a trie, the root first
  absl::flat_hash_map<uint64_t, uint32_t> edges_;  // node << 8 | byte -> node
  std::array<bool, 256> first_bytes_{};
};

}  // namespace millrace
