#include "decode/propose/suffix_tree.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <utility>

#include <absl/hash/hash.h>

#include "base/check.h"

namespace millrace {
namespace {

// An array of children gives memory back when it uses a quarter of it.
constexpr size_t kSlackOfChildren = 4;

}  // namespace

int64_t SuffixTree::bytes() const {
  size_t bytes =
      nodes_.capacity() * sizeof(Node) + texts_.capacity() * sizeof(Text) +
      (free_.capacity() + buckets_.capacity() + free_texts_.capacity()) * sizeof(int32_t);
  for (const Node& node : nodes_) {
    if (node.children.capacity() > 4) bytes += node.children.capacity() * sizeof(int32_t);
  }
  for (const Text& text : texts_) bytes += text.tokens.capacity() * sizeof(TokenId);
  return static_cast<int64_t>(bytes);
}

// A node itself, its place in the list of free ones, up to two buckets (their number is a power of
// two), and its place among its parent's children.
int64_t SuffixTree::bytes_of_nodes(int64_t nodes) {
  constexpr size_t kIds = 1 + 2 + kSlackOfChildren;
  return nodes * static_cast<int64_t>(sizeof(Node) + kIds * sizeof(int32_t));
}

void SuffixTree::reserve(int64_t nodes) {
  nodes_.reserve(static_cast<size_t>(nodes));
  free_.reserve(static_cast<size_t>(nodes));
  rehash(std::bit_ceil(static_cast<size_t>(nodes)));
}

int32_t SuffixTree::add_root() { return new_node(); }

void SuffixTree::remove_root(int32_t root) {
  CHECK(at(root).parent == kNone && at(root).count == 0, "a root with texts under it");
  release(root);
}

int32_t SuffixTree::add_text(int32_t root) {
  if (free_texts_.empty()) {
    free_texts_.push_back(static_cast<int32_t>(texts_.size()));
    texts_.emplace_back();
  }
  growing_ = free_texts_.back();
  free_texts_.pop_back();
  texts_[static_cast<size_t>(growing_)] = {.tokens = {}, .stamp = stamps_++, .root = root};
  ends_.clear();
  return growing_;
}

// Every run that ends at the text's end, from the longest to the empty one, becomes longer by the
// token. Each of them ends a label, because it occurs once more than what it went on to, so that
// none is touched by the others.
void SuffixTree::append(TokenId token) {
  CHECK(growing_ != kNone, "no text to grow");
  Text& text = texts_[static_cast<size_t>(growing_)];
  text.tokens.push_back(token);
  if (std::ssize(ends_) < depth_max_) ends_.push_back(kNone);
  for (size_t length = ends_.size() - 1; length > 0; --length) {
    ends_[length] = extend(ends_[length - 1], token);
  }
  ++at(text.root).count;
  ends_[0] = extend(text.root, token);
}

void SuffixTree::finish_text() {
  growing_ = kNone;
  ends_.clear();
}

int64_t SuffixTree::length() const {
  return growing_ == kNone ? 0 : std::ssize(texts_[static_cast<size_t>(growing_)].tokens);
}

// The node at whose end the run is that ends with `from` and `token`, counted once more.
int32_t SuffixTree::extend(int32_t from, TokenId token) {
  const bool is_root = at(from).length == 0;
  if (!is_root && at(from).count == 1) {
    ++at(from).length;
    ++at(from).end;
    return from;
  }
  int32_t next = child(from, token);
  if (next == kNone) {
    next = new_node();
    Node& leaf = at(next);
    leaf.parent = from;
    leaf.token = token;
    leaf.length = 1;
    leaf.count = 1;
    leaf.rank = static_cast<int32_t>(at(from).children.size());
    at(from).children.push_back(next);
    link(next);
    see(next);
    return next;
  }
  const bool is_only_child = !is_root && at(from).children.size() == 1;
  if (at(next).length > 1) {
    if (is_only_child && at(from).count == at(next).count + 1) {
      slide(from, next);
      see(from);
      return from;
    }
    next = split(next);
  }
  count_up(next);
  see(next);
  if (is_only_child && at(from).count == at(next).count) merge_with_only_child(from);
  return next;
}

// The text that grows is now the newest that has the run.
void SuffixTree::see(int32_t node) {
  at(node).text = growing_;
  at(node).end = static_cast<int32_t>(texts_[static_cast<size_t>(growing_)].tokens.size());
}

// Makes a node of the first token of a label.
int32_t SuffixTree::split(int32_t node) {
  const int32_t first = new_node();
  unlink(node);
  Node& upper = at(first);
  Node& lower = at(node);
  upper.parent = lower.parent;
  upper.token = lower.token;
  upper.length = 1;
  upper.count = lower.count;
  upper.rank = lower.rank;
  upper.children.push_back(node);
  at(upper.parent).children[static_cast<size_t>(upper.rank)] = first;
  lower.token = label(lower, 1);
  lower.parent = first;
  lower.rank = 0;
  --lower.length;
  link(first);
  link(node);
  return first;
}

// Moves the first token of an only child's label to the end of its parent's: what a split and a
// merge would do.
void SuffixTree::slide(int32_t node, int32_t child) {
  unlink(child);
  Node& lower = at(child);
  lower.token = label(lower, 1);
  --lower.length;
  link(child);
  ++at(node).length;
}

void SuffixTree::merge_with_only_child(int32_t node) {
  const int32_t child = at(node).children.front();
  unlink(node);
  unlink(child);
  const Node& upper = at(node);
  Node& lower = at(child);
  lower.parent = upper.parent;
  lower.token = upper.token;
  lower.length += upper.length;
  lower.rank = upper.rank;
  at(lower.parent).children[static_cast<size_t>(lower.rank)] = child;
  link(child);
  release(node);
}

// Keeps the children in order: the first of those that were as frequent changes places with it.
void SuffixTree::count_up(int32_t node) {
  Node& counted = at(node);
  auto& children = at(counted.parent).children;
  const auto own = children.begin() + counted.rank;
  const auto first = std::partition_point(
      children.begin(), own, [&](int32_t other) { return at(other).count > counted.count; });
  std::swap(at(*first).rank, counted.rank);
  std::swap(*first, *own);
  ++counted.count;
}

// The last of those that were as frequent changes places with it.
void SuffixTree::count_down(int32_t node) {
  Node& counted = at(node);
  auto& children = at(counted.parent).children;
  const auto own = children.begin() + counted.rank;
  const auto last =
      std::partition_point(own, children.end(),
                           [&](int32_t other) { return at(other).count >= counted.count; }) -
      1;
  std::swap(at(*last).rank, counted.rank);
  std::swap(*last, *own);
  --counted.count;
}

std::vector<TokenId> SuffixTree::remove_text(int32_t text) {
  const int32_t root = texts_[static_cast<size_t>(text)].root;
  CHECK(root != kNone, "no such text");
  const std::span<const TokenId> tokens = texts_[static_cast<size_t>(text)].tokens;
  for (size_t begin = 0; begin < tokens.size(); ++begin) {
    const auto rest = tokens.subspan(begin);
    remove_run(root, rest.first(std::min(rest.size(), static_cast<size_t>(depth_max_))));
  }
  finish_text();
  free_texts_.push_back(text);
  return std::exchange(texts_[static_cast<size_t>(text)], {}).tokens;
}

// Takes back what the appends along a run have counted.
void SuffixTree::remove_run(int32_t root, std::span<const TokenId> run) {
  int32_t node = root;
  --at(root).count;
  for (size_t done = 0; done < run.size();) {
    const int32_t next = child(node, run[done]);
    CHECK(next != kNone, "a text that is not in the tree");
    count_down(next);
    if (at(next).count == 0) {
      auto& children = at(node).children;
      children.pop_back();
      if (children.capacity() > kSlackOfChildren &&
          children.size() * kSlackOfChildren <= children.capacity()) {
        children.shrink_to_fit();
      }
      unlink(next);
      release(next);
      break;
    }
    done += static_cast<size_t>(at(next).length);
    node = next;
  }
  const Node& last = at(node);
  if (node != root && last.children.size() == 1 && at(last.children.front()).count == last.count) {
    merge_with_only_child(node);
  }
}

int32_t SuffixTree::repeated() const {
  auto length = static_cast<int32_t>(std::min<int64_t>(std::ssize(ends_), depth_max_ - 1));
  while (length > 0 && at(ends_[static_cast<size_t>(length - 1)]).children.empty()) --length;
  return length;
}

SuffixTree::Place SuffixTree::ending(int32_t length) const {
  const int32_t node = ends_[static_cast<size_t>(length - 1)];
  return {node, at(node).length};
}

bool SuffixTree::is_ending(Place place, int32_t length) const {
  return length >= 1 && length <= std::ssize(ends_) && place == ending(length);
}

// A run that goes on does so without its first token as well, so the longest is found by halving.
int32_t SuffixTree::match(int32_t root, std::span<const TokenId> tokens) const {
  int64_t longest = 0;
  int64_t too_long = std::min<int64_t>(std::ssize(tokens) + 1, depth_max_);
  while (too_long - longest > 1) {
    const int64_t length = (longest + too_long) / 2;
    const auto place = find(root, tokens.last(static_cast<size_t>(length)));
    const bool goes_on =
        place && (place->offset < at(place->node).length || !at(place->node).children.empty());
    (goes_on ? longest : too_long) = length;
  }
  return static_cast<int32_t>(longest);
}

std::optional<SuffixTree::Place> SuffixTree::find(int32_t root,
                                                  std::span<const TokenId> run) const {
  Place place = {root, 0};
  while (!run.empty()) {
    place.node = child(place.node, run.front());
    if (place.node == kNone) return std::nullopt;
    const Node& node = at(place.node);
    const auto length = std::min(static_cast<size_t>(node.length), run.size());
    const auto& tokens = texts_[static_cast<size_t>(node.text)].tokens;
    if (!std::equal(run.begin(), run.begin() + static_cast<std::ptrdiff_t>(length),
                    tokens.begin() + (node.end - node.length))) {
      return std::nullopt;
    }
    place.offset = static_cast<int32_t>(length);
    run = run.subspan(length);
  }
  return place;
}

void SuffixTree::continuations(Place place, int64_t most, std::vector<Continuation>& out) const {
  const auto add = [&](Place next) {
    const Node& node = at(next.node);
    const int64_t stamp = texts_[static_cast<size_t>(node.text)].stamp;
    const int32_t end = node.end - node.length + next.offset;
    out.push_back({label(node, next.offset - 1), node.count, (stamp << 32) + end, next});
  };
  const Node& node = at(place.node);
  if (place.offset < node.length) {
    if (most > 0) add({place.node, place.offset + 1});
    return;
  }
  const auto children = std::span(node.children);
  for (const int32_t next :
       children.first(std::min(children.size(), static_cast<size_t>(std::max<int64_t>(most, 0))))) {
    add({next, 1});
  }
}

TokenId SuffixTree::label(const Node& node, int32_t offset) const {
  const auto& tokens = texts_[static_cast<size_t>(node.text)].tokens;
  return tokens[static_cast<size_t>(node.end - node.length + offset)];
}

size_t SuffixTree::bucket(int32_t parent, TokenId token) const {
  return absl::HashOf(parent, token) & (buckets_.size() - 1);
}

int32_t SuffixTree::child(int32_t parent, TokenId token) const {
  if (buckets_.empty()) return kNone;
  int32_t node = buckets_[bucket(parent, token)];
  while (node != kNone && (at(node).parent != parent || at(node).token != token)) {
    node = at(node).chained;
  }
  return node;
}

int32_t SuffixTree::new_node() {
  if (!free_.empty()) {
    const int32_t node = free_.back();
    free_.pop_back();
    return node;
  }
  nodes_.emplace_back();
  if (nodes_.size() > buckets_.size()) rehash(std::max<size_t>(buckets_.size() * 2, 16));
  return static_cast<int32_t>(nodes_.size()) - 1;
}

void SuffixTree::release(int32_t node) {
  std::destroy_at(&at(node));
  std::construct_at(&at(node));
  free_.push_back(node);
}

void SuffixTree::link(int32_t node) {
  int32_t& first = buckets_[bucket(at(node).parent, at(node).token)];
  at(node).chained = first;
  first = node;
}

void SuffixTree::unlink(int32_t node) {
  int32_t* to = &buckets_[bucket(at(node).parent, at(node).token)];
  while (*to != node) to = &at(*to).chained;
  *to = at(node).chained;
}

void SuffixTree::rehash(size_t buckets) {
  buckets_.assign(buckets, kNone);
  for (int32_t node = 0; node < std::ssize(nodes_); ++node) {
    if (at(node).parent != kNone) link(node);
  }
}

void SuffixTree::check_integrity() const {
  int64_t used = 0;
  for (int32_t id = 0; id < std::ssize(nodes_); ++id) {
    const Node& node = at(id);
    int64_t going_on = 0;
    for (size_t rank = 0; rank < node.children.size(); ++rank) {
      const Node& next = at(node.children[rank]);
      CHECK(next.parent == id && next.rank == static_cast<int32_t>(rank));
      CHECK(rank == 0 || at(node.children[rank - 1]).count >= next.count, "children out of order");
      CHECK(child(id, next.token) == node.children[rank], "a child that is not found");
      going_on += next.count;
    }
    CHECK(going_on <= node.count, "runs that go on more often than they come");
    if (node.parent == kNone) continue;
    ++used;
    CHECK(node.count > 0 && node.length > 0 && node.length <= depth_max_);
    CHECK(node.children.size() != 1 || going_on < node.count, "two labels for the same runs");
    const Text& text = texts_[static_cast<size_t>(node.text)];
    CHECK(text.root != kNone && node.end >= node.length && node.end <= std::ssize(text.tokens));
    CHECK(label(node, 0) == node.token);
  }
  CHECK(used <= nodes());
}

}  // namespace millrace
