#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "base/ids.h"

namespace millrace {

// Byte strings, each with the id of a token, found by what a text goes on with.
class ByteTrie {
 public:
  static constexpr TokenId kNone = -1;

  ByteTrie() : ids_(1, kNone) {}
  // The last one wins where two are the same; empty ones are never found.
  void add(std::string_view bytes, TokenId id);

  // Some string begins with this byte.
  bool begins_with(char byte) const { return first_bytes_[static_cast<uint8_t>(byte)]; }
  // Calls `each(length, id)` for every string at the front of `text`, the shortest first.
  template <typename Each>
  void for_each_prefix(std::string_view text, const Each& each) const {
    uint32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      const auto edge = edges_.find(edge_of(node, text[i]));
      if (edge == edges_.end()) return;
      node = edge->second;
      if (ids_[node] != kNone) each(i + 1, ids_[node]);
    }
  }

 private:
  static uint64_t edge_of(uint32_t node, char byte) {
    return uint64_t{node} << 8 | static_cast<uint8_t>(byte);
  }

  std::vector<TokenId> ids_;  // of the string that ends at each node, the root first
  absl::flat_hash_map<uint64_t, uint32_t> edges_;  // node << 8 | byte -> node
  std::array<bool, 256> first_bytes_{};
};

}  // namespace millrace
