#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <absl/container/inlined_vector.h>

#include "base/ids.h"

namespace millrace {

// How often each run of up to `depth_max` tokens occurs in texts: a suffix tree (Weiner 1973) that
// is cut at a depth, with counts. Texts lie under roots, which know nothing of each other.
//
// A node stands for the runs that end within its label, which all occur equally often; a run that
// occurs more often than each that goes on from it ends a label. So the nodes depend on the texts
// alone, not on the order in which they came and went, and are at most two for each token.
class SuffixTree {
 public:
  // A run: what leads to `node` and the first `offset` tokens of its label.
  struct Place {
    int32_t node = 0;
    int32_t offset = 0;
    bool operator==(const Place&) const = default;
  };
  // A run that is longer by a token.
  struct Continuation {
    TokenId token = 0;
    int32_t count = 0;
    int64_t recency = 0;  // larger: it was seen last in a later text, or later in the same
    Place place;
  };

  // Pre: depth_max >= 1.
  explicit SuffixTree(int32_t depth_max) : depth_max_(depth_max) {}

  int32_t depth_max() const { return depth_max_; }
  // Nodes in use, roots among them.
  int64_t nodes() const { return std::ssize(nodes_) - std::ssize(free_); }
  // Of memory that is held, whether it is in use or not.
  int64_t bytes() const;
  // What `nodes` nodes take at most, their children and the hash table included.
  static int64_t bytes_of_nodes(int64_t nodes);
  // Takes the memory of that many nodes at once. It is not touched before it is used.
  void reserve(int64_t nodes);

  int32_t add_root();
  // Pre: no text is under it.
  void remove_root(int32_t root);

  // Begins an empty text under a root.
  int32_t add_text(int32_t root);
  // Adds a token to the end of the text that grows: the one that was added last, unless it is
  // finished or a text was removed since.
  void append(TokenId token);
  // It does not grow any more.
  void finish_text();
  // Tokens of the text that grows.
  int64_t length() const;
  // Returns the tokens. Pre: it is the oldest text under its root.
  std::vector<TokenId> remove_text(int32_t text);

  // The longest run at the end of the text that grows, shorter than depth_max, that came before in
  // texts under its root. 0: none did.
  int32_t repeated() const;
  // Where the last `length` tokens of the text that grows are. Pre: it has so many, and
  // 1 <= length <= depth_max.
  Place ending(int32_t length) const;
  // Whether `place` is where the text that grows ends with `length` tokens.
  bool is_ending(Place place, int32_t length) const;

  // The longest end of `tokens`, shorter than depth_max, that goes on somewhere under the root. 0:
  // none does.
  int32_t match(int32_t root, std::span<const TokenId> tokens) const;
  // The place of `run`, if it occurs under the root.
  std::optional<Place> find(int32_t root, std::span<const TokenId> run) const;

  int32_t count(Place place) const { return at(place.node).count; }
  // The newest text that has the run.
  int32_t text_of(Place place) const { return at(place.node).text; }
  // Adds to `out` how the run goes on: the most frequent, at most `most` of them, in order.
  void continuations(Place place, int64_t most, std::vector<Continuation>& out) const;

  // Aborts where the nodes are not what the texts ask for.
  void check_integrity() const;

 private:
  static constexpr int32_t kNone = -1;

  struct Node {
    int32_t parent = kNone;
    TokenId token = 0;                         // the first of its label
    int32_t length = 0;                        // of its label; 0: a root
    int32_t count = 0;                         // of the run to the end of its label
    int32_t text = kNone;                      // the newest text that has the run
    int32_t end = 0;                           // behind the last token of a place where it has it
    int32_t rank = 0;                          // among its parent's children
    int32_t chained = kNone;                   // the next node in its bucket
    absl::InlinedVector<int32_t, 4> children;  // the more frequent first
  };
  struct Text {
    std::vector<TokenId> tokens;
    int64_t stamp = 0;  // larger: newer
    int32_t root = kNone;
  };

  Node& at(int32_t node) { return nodes_[static_cast<size_t>(node)]; }
  const Node& at(int32_t node) const { return nodes_[static_cast<size_t>(node)]; }
  TokenId label(const Node& node, int32_t offset) const;

  size_t bucket(int32_t parent, TokenId token) const;
  int32_t child(int32_t parent, TokenId token) const;
  int32_t new_node();
  void release(int32_t node);
  void link(int32_t node);
  void unlink(int32_t node);
  void rehash(size_t buckets);

  int32_t extend(int32_t from, TokenId token);
  void see(int32_t node);
  int32_t split(int32_t node);
  void slide(int32_t node, int32_t child);
  void merge_with_only_child(int32_t node);
  void count_up(int32_t node);
  void count_down(int32_t node);
  void remove_run(int32_t root, std::span<const TokenId> run);

  int32_t depth_max_;
  std::vector<Node> nodes_;
  std::vector<int32_t> free_;     // of nodes_
  std::vector<int32_t> buckets_;  // the first node of each; a power of two of them
  std::vector<Text> texts_;
  std::vector<int32_t> free_texts_;
  int64_t stamps_ = 0;
  int32_t growing_ = kNone;    // the text
  std::vector<int32_t> ends_;  // [lengths] the node at whose end its last tokens end
};

}  // namespace millrace
