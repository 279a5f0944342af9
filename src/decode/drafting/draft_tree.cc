#include "decode/drafting/draft_tree.h"

#include <algorithm>
#include <utility>

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

// The likeliest last, so that it is taken first.
void DraftTree::push_children(int32_t parent, int32_t place,
                              std::vector<std::pair<int32_t, int32_t>>& open) const {
  const auto begin = std::ssize(open);
  for (int32_t at = first_child(parent); at >= 0; at = node(at).sibling) {
    if (node(at).is_chosen) open.emplace_back(at, place);
  }
  std::sort(open.begin() + begin, open.end(), [this](const auto& a, const auto& b) {
    return node(a.first).survival < node(b.first).survival;
  });
}

int32_t DraftTree::list_chosen(std::vector<DraftNode>& draft) const {
  std::vector<std::pair<int32_t, int32_t>> open;  // nodes, and their parents' places in the draft
  push_children(-1, -1, open);
  int32_t count = 0;
  while (!open.empty()) {
    const auto [at, parent] = open.back();
    open.pop_back();
    draft.push_back({.token = node(at).token, .parent = parent, .method = node(at).method});
    push_children(at, count++, open);
  }
  return count;
}

}  // namespace millrace
