#pragma once

#include <cstdint>
#include <span>

#include "core/kv_spec.h"
#include "core/sequence.h"
#include "kv/prefix_tree.h"

namespace millrace {

// What the prefix tree has of a sequence's tokens, from the first one on.
struct UsablePrefix {
  NodeId node;            // the last; invalid: nothing is there
  int64_t tokens = 0;     // whole blocks of them
  int64_t skippable = 0;  // of these: rows that need not be computed
};

// The longest prefix with which the sequence can begin. It needs a block of each of these tokens in
// groups without a window, of the last of them in one with a window, and a snapshot of the state
// after exactly these. Where groups forget, all of it is skippable. One walk down the tree.
UsablePrefix find_usable_prefix(const PrefixTree& tree, std::span<const KvGroup> groups,
                                const Sequence& sequence);

// The first token that the row at `position` reads.
int64_t reads_from(const KvGroup& group, int64_t position);

// Tokens [begin, begin + size) of what it knows.
std::span<const TokenId> tokens_from(const Sequence& sequence, int64_t begin, int64_t size);

}  // namespace millrace
