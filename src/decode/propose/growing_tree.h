#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/draw_order.h"
#include "decode/propose/proposer.h"

namespace millrace {

// A draft that grows from a model's likeliest tokens by the joint probability of paths (EAGLE-2, Li
// et al. 2024). A child is never likelier than its parent, so the best nodes of a tree are a tree.
class GrowingTree {
 public:
  static constexpr int32_t kRoot = -1;  // the last known token

  struct Node {
    TokenId token = 0;
    int32_t parent = kRoot;
    int32_t depth = 1;
    float chance = 0;    // that it comes where its parent did
    double joint = 0;    // logarithm of the chance of its whole path
    bool grown = false;  // the tokens after it are known
  };

  // What follows a path that is less likely than `survival_min` is not looked for.
  void begin(int32_t nodes_max, int32_t depth_max, double survival_min = 0);
  // Takes in the likeliest tokens after a node or the root. Pre: it was not grown before.
  void grow(int32_t node, std::span<const TokenLogprob> children);
  // Up to `count` nodes that are not grown and whose children may be among the best, the likeliest
  // first.
  std::span<const int32_t> frontier(int32_t count);
  // The best `nodes_max`, the likelier first.
  void give(DraftSlot& slot) const;

  int32_t depth() const;
  const Node& node(int32_t i) const { return nodes_[static_cast<size_t>(i)]; }
  // From the root's child down to the node itself.
  std::vector<int32_t> path_to(int32_t node) const;

 private:
  double joint_of(int32_t node) const { return node == kRoot ? 0 : this->node(node).joint; }
  std::vector<int32_t> best() const;

  int32_t nodes_max_ = 0;
  int32_t depth_max_ = 0;
  double joint_min_ = 0;
  std::vector<Node> nodes_;  // parents first
  std::vector<int32_t> frontier_;
};

}  // namespace millrace
