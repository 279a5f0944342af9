#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/functional/function_ref.h>

#include "base/ids.h"
#include "base/status.h"

namespace millrace {

// Pairs of tokens that join, the first ones before the others.
struct MergeList {
  // What errors call a pair: its index stands between the two.
  std::string_view before_index;
  std::string_view after_index;
  std::vector<std::pair<std::string_view, std::string_view>> pairs = {};

  absl::Status error(size_t index, std::string_view what) const;
};

// Joins neighbouring symbols of a word, the lowest order first, at equal orders the leftmost: byte
// pair encoding (Sennrich, Haddow and Birch, "Neural machine translation of rare words with subword
// units", 2016, section 3.2), whether the order is a rank or a score. Symbols are token ids, and
// below kNoSymbol, which joins nothing, whatever the owner wants.
class Merges {
 public:
  static constexpr int32_t kNoSymbol = -1;
  static constexpr uint32_t kOrderMax = 0xFFFFFFFE;

  // Room to work in, kept by the caller from word to word.
  class Word {
   public:
    void clear() { nodes_.clear(); }
    void add(int32_t symbol) { nodes_.push_back({symbol}); }
    // Calls `each(symbol)` for what is there, in order.
    template <typename Each>
    void for_each(const Each& each) const {
      for (size_t i = 0; i < nodes_.size(); i = nodes_[i].next) each(nodes_[i].symbol);
    }

   private:
    friend class Merges;
    struct Node {
      int32_t symbol;
      uint32_t previous = 0;
      uint32_t next = 0;
      uint32_t order = 0;  // of the join with the next node
      int32_t joined = kNoSymbol;
    };
    std::vector<Node> nodes_;     // a linked list in place
    std::vector<uint64_t> heap_;  // order << 32 | index of the left node
  };

  // Adds the joins of a list, the first ones before the others. `prefix`, where right tokens begin
  // with it, is no part of what they join to. No join makes a token that is not `may_become`.
  // find: the token with this text; `likely`, perhaps no token, is probably the one.
  // expect: told of texts some time before they are looked for.
  using Find = absl::FunctionRef<std::optional<TokenId>(std::string_view text, TokenId likely)>;
  using Expect = absl::FunctionRef<void(std::string_view text)>;
  using MayBecome = absl::FunctionRef<bool(TokenId)>;
  absl::Status read(const MergeList& list, std::string_view prefix, Find find, Expect expect,
                    MayBecome may_become);
  // Keeps the first of two joins of the same pair.
  void add(int32_t left, int32_t right, uint32_t order, int32_t joined) {
    table_.try_emplace(key(left, right), Join{order, joined});
  }
  // Does every join in `word`: O(n log n).
  void apply(Word& word) const;

 private:
  struct Join {
    uint32_t order;
    int32_t symbol;
  };
  static uint64_t key(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  class Intake;
  // Notes the join of node `left` with the next one; false: they do not join.
  bool look_up(Word& word, uint32_t left) const;

  absl::flat_hash_map<uint64_t, Join> table_;
};

}  // namespace millrace
