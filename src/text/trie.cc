#include "text/trie.h"

#include <algorithm>

namespace millrace {
namespace {

// The entries under a node share its `depth` first bytes.
struct Share {
  size_t begin;
  size_t end;
  size_t depth;
};

bool byte_less(char a, char b) { return static_cast<uint8_t>(a) < static_cast<uint8_t>(b); }

}  // namespace

Trie::Trie(std::vector<Entry> entries) {
  std::ranges::stable_sort(entries, {}, &Entry::text);
  const auto same = [](const Entry& a, const Entry& b) { return a.text == b.text; };
  entries.erase(std::unique(entries.begin(), entries.end(), same), entries.end());
  nodes_.resize(1);
  bytes_.resize(1);
  // Breadth first, so that siblings are neighbours: node i is made of shares[i].
  std::vector<Share> shares = {{0, entries.size(), 0}};
  for (size_t node = 0; node < shares.size(); ++node) {
    auto [begin, end, depth] = shares[node];
    if (begin < end && entries[begin].text.size() == depth) {
      if (depth > 0) nodes_[node].value = entries[begin].value;
      ++begin;
    }
    nodes_[node].first_child = static_cast<uint32_t>(nodes_.size());
    while (begin < end) {
      const char byte = entries[begin].text[depth];
      size_t after = begin + 1;
      while (after < end && entries[after].text[depth] == byte) ++after;
      shares.push_back({begin, after, depth + 1});
      nodes_.emplace_back();
      bytes_.push_back(byte);
      if (depth == 0) first_bytes_[static_cast<uint8_t>(byte)] = true;
      ++nodes_[node].children;
      begin = after;
    }
  }
}

Trie::Node Trie::next(Node node, char byte) const {
  const Inner& inner = nodes_[static_cast<size_t>(node)];
  const auto first = bytes_.begin() + inner.first_child;
  const auto last = first + inner.children;
  const auto found = std::lower_bound(first, last, byte, byte_less);
  return found != last && *found == byte ? static_cast<Node>(found - bytes_.begin()) : kNone;
}

std::optional<int32_t> Trie::find(std::string_view text) const {
  Node node = kRoot;
  for (const char byte : text) {
    node = next(node, byte);
    if (node == kNone) return std::nullopt;
  }
  const int32_t found = value(node);
  return found == kNone ? std::nullopt : std::optional(found);
}

Trie::Prefix Trie::longest(std::string_view text) const {
  Prefix found;
  for_each_prefix(text, [&found](const Prefix& prefix) { found = prefix; });
  return found;
}

}  // namespace millrace
