#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/draft.h"

namespace millrace {

// What several proposers guess of one sequence as one tree: tokens that follow the same tokens are
// one node.
class DraftTree {
 public:
  struct Node {
    TokenId token = 0;
    int32_t parent = -1;
    int32_t method = 0;   // that proposed it first
    int32_t depth = 1;    // tokens after the last known one
    double survival = 0;  // the probability that it and all before it hold: below its parent's
    bool is_chosen = false;
    int32_t child = -1, sibling = -1;  // the newest child, and the next older one of its parent
  };

  void clear();
  // The node that holds `token` after `parent`, with the higher of its survival and
  // `likelihood` times the parent's. Pre: 0 < likelihood < 1.
  int32_t add(TokenId token, int32_t parent, int32_t method, double likelihood);
  // Pre: `parent` of a chosen node is chosen.
  void choose(int32_t node) { nodes_[static_cast<size_t>(node)].is_chosen = true; }

  std::span<const Node> nodes() const { return nodes_; }  // each after its parent
  // From the root always the likeliest child.
  void list_likeliest_path(std::vector<int32_t>& path) const;
  // Appends the chosen nodes: the likeliest path, then the others, the likelier first, each after
  // its parent. So what is cut off at the end is worth least. Returns how many.
  int32_t list_chosen(std::vector<DraftNode>& draft) const;

 private:
  const Node& node(int32_t index) const { return nodes_[static_cast<size_t>(index)]; }
  int32_t first_child(int32_t parent) const {
    return parent < 0 ? root_child_ : node(parent).child;
  }
  int32_t likeliest_child(int32_t parent) const;

  std::vector<Node> nodes_;
  int32_t root_child_ = -1;
};

}  // namespace millrace
