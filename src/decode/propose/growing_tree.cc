#include "decode/propose/growing_tree.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace millrace {

void GrowingTree::begin(int32_t nodes_max, int32_t depth_max, double survival_min) {
  joint_min_ = std::log(survival_min);  // of 0: minus infinity
  nodes_max_ = nodes_max;
  depth_max_ = depth_max;
  nodes_.clear();
}

void GrowingTree::grow(int32_t node, std::span<const TokenLogprob> children) {
  const int32_t depth = node == kRoot ? 1 : this->node(node).depth + 1;
  if (node != kRoot) {
    Node& parent = nodes_[static_cast<size_t>(node)];
    CHECK(!parent.grown, "node {} grows twice", node);
    parent.grown = true;
  }
  for (const TokenLogprob& child : children) {
    const double logprob = std::min(double{child.logprob}, 0.0);
    nodes_.push_back({.token = child.token,
                      .parent = node,
                      .depth = depth,
                      .chance = static_cast<float>(std::exp(logprob)),
                      .joint = joint_of(node) + logprob});
  }
}

// By joint probability; of equals the earlier, so that parents precede their children.
std::vector<int32_t> GrowingTree::best() const {
  std::vector<int32_t> order(nodes_.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return joint_of(a) > joint_of(b); });
  order.resize(std::min(order.size(), static_cast<size_t>(nodes_max_)));
  return order;
}

int32_t GrowingTree::depth() const {
  int32_t depth = 0;
  for (const int32_t i : best()) depth = std::max(depth, node(i).depth);
  return depth;
}

std::span<const int32_t> GrowingTree::frontier(int32_t count) {
  frontier_.clear();
  const std::vector<int32_t> kept = best();
  const bool is_full = std::ssize(kept) == nodes_max_;
  for (const int32_t i : kept) {
    if (std::ssize(frontier_) == count) break;
    const bool may_be_kept = !is_full || node(i).joint > joint_of(kept.back());
    const bool may_grow = !node(i).grown && node(i).depth < depth_max_;
    if (may_grow && may_be_kept && node(i).joint >= joint_min_) frontier_.push_back(i);
  }
  return frontier_;
}

std::vector<int32_t> GrowingTree::path_to(int32_t node) const {
  std::vector<int32_t> path;
  for (; node != kRoot; node = this->node(node).parent) path.push_back(node);
  std::ranges::reverse(path);
  return path;
}

void GrowingTree::give(DraftSlot& slot) const {
  const std::vector<int32_t> kept = best();
  std::vector<int32_t> place(nodes_.size(), kRoot);
  for (size_t i = 0; i < kept.size(); ++i) {
    const Node& one = node(kept[i]);
    const int32_t parent = one.parent == kRoot ? kRoot : place[static_cast<size_t>(one.parent)];
    place[static_cast<size_t>(kept[i])] = static_cast<int32_t>(i);
    slot.add(one.token, parent, one.chance);
  }
}

}  // namespace millrace
