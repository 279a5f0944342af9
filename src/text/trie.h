#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace millrace {

// Byte strings with a number each, found by their beginnings. Immutable.
class Trie {
 public:
  static constexpr int32_t kNone = -1;
  using Node = int32_t;
  static constexpr Node kRoot = 0;

  struct Entry {
    std::string_view text;
    int32_t value = 0;  // not negative
  };

  Trie() : Trie(std::vector<Entry>{}) {}
  // Of equal texts the first counts; empty ones are left out.
  explicit Trie(std::vector<Entry> entries);

  // The node after one more byte; kNone: no text goes on like this.
  Node next(Node node, char byte) const;
  // Of the text that ends at this node; kNone: none does.
  int32_t value(Node node) const { return nodes_[static_cast<size_t>(node)].value; }
  std::optional<int32_t> find(std::string_view text) const;

  struct Prefix {
    size_t bytes = 0;  // 0: no text begins here
    int32_t value = kNone;
  };
  // The longest text that `text` begins with.
  Prefix longest(std::string_view text) const;
  // Calls `each(Prefix)` for every text that `text` begins with, the shortest first.
  template <typename Each>
  void for_each_prefix(std::string_view text, const Each& each) const {
    Node node = kRoot;
    for (size_t i = 0; i < text.size(); ++i) {
      node = next(node, text[i]);
      if (node == kNone) return;
      if (value(node) != kNone) each(Prefix{i + 1, value(node)});
    }
  }
  // Some text begins with this byte.
  bool begins_with(char byte) const { return first_bytes_[static_cast<uint8_t>(byte)]; }

 private:
  // The children of a node lie side by side, in the order of their bytes.
  struct Inner {
    uint32_t first_child = 0;
    uint16_t children = 0;
    int32_t value = kNone;
  };

  std::vector<Inner> nodes_;
  std::vector<char> bytes_;  // by node: the one that leads to it
  std::array<bool, 256> first_bytes_{};
};

}  // namespace millrace
