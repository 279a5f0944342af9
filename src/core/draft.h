#pragma once

#include <cstdint>
#include <span>

#include "base/ids.h"

namespace millrace {

// One token of a draft: of what may follow the tokens that a sequence knows. A draft is a tree, its
// nodes listed so that each comes after its parent; the first n of them are a draft too.
struct DraftNode {
  TokenId token = 0;
  int32_t parent = -1;  // index of an earlier node; -1: it follows the last known token
  int32_t method = 0;   // that proposed it, of ModelCard::draft_methods
};

// Leading nodes that each follow the one before.
inline int32_t leading_chain(std::span<const DraftNode> nodes) {
  int32_t length = 0;
  while (length < std::ssize(nodes) && nodes[static_cast<size_t>(length)].parent == length - 1) {
    ++length;
  }
  return length;
}

}  // namespace millrace
