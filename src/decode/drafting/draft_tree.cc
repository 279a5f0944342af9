#include "decode/drafting/draft_tree.h"

#include <algorithm>

namespace millrace {

void DraftTree::clear() {
  nodes_.clear();
  root_child_ = -1;
}

int32_t DraftTree::add(TokenId token, int32_t parent, int32_t method, double likelihood) {
  const double survival = likelihood * (parent < 0 ? 1 : node(parent).survival);
  int32_t& newest = parent < 0 ? root_child_ : nodes_[static_cast<size_t>(parent)].child;
  for (int32_t at = newest; at >= 0; at = node(at).sibling) {
    if (node(at).token != token) continue;
    Node& found = nodes_[static_cast<size_t>(at)];
    found.survival = std::max(found.survival, survival);
    return at;
  }
  const Node fresh = {.token = token,
                      .parent = parent,
                      .method = method,
                      .depth = parent < 0 ? 1 : node(parent).depth + 1,
                      .survival = survival,
                      .sibling = newest};
  const auto place = static_cast<int32_t>(nodes_.size());
  newest = place;  // before the nodes move
  nodes_.push_back(fresh);
  return place;
}

int32_t DraftTree::likeliest_child(int32_t parent) const {
  int32_t best = -1;
  for (int32_t at = first_child(parent); at >= 0; at = node(at).sibling) {
    if (best < 0 || node(at).survival >= node(best).survival) best = at;
  }
  return best;
}

void DraftTree::list_likeliest_path(std::vector<int32_t>& path) const {
  path.clear();
  for (int32_t at = likeliest_child(-1); at >= 0; at = likeliest_child(at)) path.push_back(at);
}

int32_t DraftTree::list_chosen(std::vector<DraftNode>& draft) const {
  std::vector<int32_t> order;
  list_likeliest_path(order);
  std::erase_if(order, [this](int32_t at) { return !node(at).is_chosen; });
  const auto path = std::ssize(order);
  std::vector<bool> is_listed(nodes_.size());
  for (const int32_t at : order) is_listed[static_cast<size_t>(at)] = true;
  for (size_t at = 0; at < nodes_.size(); ++at) {
    if (nodes_[at].is_chosen && !is_listed[at]) order.push_back(static_cast<int32_t>(at));
  }
  std::stable_sort(order.begin() + path, order.end(),
                   [this](int32_t a, int32_t b) { return node(a).survival > node(b).survival; });
  std::vector<int32_t> places(nodes_.size(), -1);
  for (size_t i = 0; i < order.size(); ++i) {
    const Node& one = node(order[i]);
    const int32_t parent = one.parent < 0 ? -1 : places[static_cast<size_t>(one.parent)];
    draft.push_back({.token = one.token, .parent = parent, .method = one.method});
    places[static_cast<size_t>(order[i])] = static_cast<int32_t>(i);
  }
  return static_cast<int32_t>(order.size());
}

}  // namespace millrace
