#include "text/byte_trie.h"

namespace millrace {

void ByteTrie::add(std::string_view bytes, TokenId id) {
  if (bytes.empty()) return;
  first_bytes_[static_cast<uint8_t>(bytes[0])] = true;
  uint32_t node = 0;
  for (const char byte : bytes) {
    const auto [edge, is_new] =
        edges_.try_emplace(edge_of(node, byte), static_cast<uint32_t>(ids_.size()));
    if (is_new) ids_.push_back(kNone);
    node = edge->second;
  }
  ids_[node] = id;
}

}  // namespace millrace
